"""Differences of pairs: which of them count, and how their sizes rank."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

_RANK_DECIMALS = 9
"""Differences that agree to so many decimals of the largest one are ties: scores are ratios
of small counts, and equal ratios come out of float arithmetic a last bit apart."""

_CONSTANT_SHARE = 1e-12
"""Differences are constant when they spread by less than this share of the largest one."""


def subtract(candidate: ArrayLike, reference: ArrayLike) -> np.ndarray:
    """Subtract pair by pair; two infinities have no difference, and that is no warning."""
    with np.errstate(invalid="ignore"):
        return np.asarray(candidate, dtype=float) - np.asarray(reference, dtype=float)


def finite(differences: ArrayLike) -> np.ndarray:
    """Return the differences that count, `(pairs,)` float64."""
    values = np.asarray(differences, dtype=float).ravel()
    return values[np.isfinite(values)]


def is_constant(values: np.ndarray) -> bool:
    """Say whether one value or more are all the same but for rounding."""
    return bool(np.ptp(values) <= _CONSTANT_SHARE * np.abs(values).max())


def signed_ranks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank of each size, ties sharing their mean rank, and the sign of each."""
    rounded = rounded_for_ranks(values)
    return stats.rankdata(np.abs(rounded)), np.sign(rounded)


def rounded_for_ranks(values: np.ndarray) -> np.ndarray:
    """Return values as shares of the largest one, those that are ties being equal."""
    largest = np.abs(values).max(initial=0.0)
    rounded: np.ndarray = np.round(values / largest, _RANK_DECIMALS) if largest > 0 else values
    return rounded


def rank_sum_chances(ranks: np.ndarray) -> np.ndarray:
    """Return the chance of every sum of ranks whose differences happen to be positive.

    Args:
        ranks: `(n,)` whole or half.

    Returns:
        Entry i is the chance of the sum i / 2, each sign having the chance 1/2.
    """
    doubled = np.round(2 * ranks).astype(int)
    chances = np.zeros(int(doubled.sum()) + 1)
    chances[0] = 1.0
    for rank in doubled:
        with_rank = np.concatenate((np.zeros(rank), chances[:-rank]))
        chances = (chances + with_rank) / 2
    return chances
