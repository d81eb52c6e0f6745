"""Effects: how large a difference is, and within which bounds it is known."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from metaft.significance.differences import finite, is_constant, rank_sum_chances
from metaft.significance.paired import EXACT_PAIRS

_RESAMPLES = 9999

_FEWEST_RESAMPLED = 6
"""With fewer differences there is no bootstrap interval: it would leave out 0 whenever all of
them have one sign, which luck alone gives five differences once in 16 times."""

_ROUNDING = 1e-12
"""A tail of 2.5 % is one that exceeds it by no more than this share: (1 - .95) / 2 is not .025."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; infinite bounds mean that the data set none.

    Attributes:
        low, high: Its bounds, both included.
        level: Confidence, in (0, 1).
    """

    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class WinTieLoss:
    """On how many datasets the candidate was better, as good, worse."""

    wins: int
    ties: int
    losses: int


def effect_size(differences: ArrayLike) -> float:
    """Return d_z: the mean difference in units of the differences' standard deviation.

    NaN for fewer than two; 0 where all are zero; infinite where they are constant.
    """
    values = finite(differences)
    if len(values) < 2:
        return math.nan
    if is_constant(values):
        return math.copysign(math.inf, values[0]) if values.any() else 0.0
    return float(values.mean() / values.std(ddof=1))


def hodges_lehmann(differences: ArrayLike, level: float = 0.95) -> tuple[float, Interval]:
    """Return the Hodges-Lehmann shift and the interval of shifts that Wilcoxon accepts.

    The shift is the median of all means of two differences (a difference with itself
    included). Too few differences for the level (fewer than 6 at .95) leave the interval
    without bounds.

    Source:
        Hollander, Wolfe & Chicken (2014), Nonparametric statistical methods, 3.2 and 3.3.
    """
    values = finite(differences)
    if not len(values):
        return math.nan, Interval(-math.inf, math.inf, level)
    first, second = np.triu_indices(len(values))
    means = np.sort((values[first] + values[second]) / 2)
    cut = _outer_means(len(values), (1 - level) / 2)
    bounds = (means[cut - 1], means[-cut]) if cut else (-math.inf, math.inf)
    return float(np.median(means)), Interval(float(bounds[0]), float(bounds[1]), level)


def bootstrap_interval(
    differences: ArrayLike, *, level: float = 0.95, resamples: int = _RESAMPLES, seed: int = 0
) -> Interval:
    """Return the bootstrap interval of the mean: BCa, or percentiles where BCa has none.

    Fewer than six differences leave it without bounds; constant ones make it a point.

    Args:
        differences: `(pairs,)`.
        level: Confidence, in (0, 1).
        resamples: Samples drawn with replacement, >= 1.
        seed: Seed of the draw.

    Source:
        Efron (1987), Better bootstrap confidence intervals.
    """
    values = finite(differences)
    if len(values) < _FEWEST_RESAMPLED:
        return Interval(-math.inf, math.inf, level)
    if is_constant(values):
        return Interval(float(values[0]), float(values[0]), level)
    bounds = _bootstrap_bounds(values, level, resamples, seed, "BCa")
    if not np.isfinite(bounds).all():
        bounds = _bootstrap_bounds(values, level, resamples, seed, "percentile")
    return Interval(*bounds, level)


def count_wins(differences: ArrayLike, *, tie: float = 0.0) -> WinTieLoss:
    """Count differences above `tie`, within it (both signs) and below it."""
    values = finite(differences)
    wins, losses = int((values > tie).sum()), int((values < -tie).sum())
    return WinTieLoss(wins, len(values) - wins - losses, losses)


def _outer_means(pairs: int, tail: float) -> int:
    """Return the largest k with P(W+ <= k - 1) <= tail: the bounds are the k-th outer means."""
    if pairs > EXACT_PAIRS:
        centre = pairs * (pairs + 1) / 4
        deviation = math.sqrt(centre * (2 * pairs + 1) / 6)
        return math.floor(centre - stats.norm.isf(tail) * deviation)
    below = np.cumsum(rank_sum_chances(np.arange(1.0, pairs + 1))[::2])
    return int(np.searchsorted(below, tail * (1 + _ROUNDING), side="right"))


def _bootstrap_bounds(
    values: np.ndarray, level: float, resamples: int, seed: int, method: str
) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # BCa says so where it has no answer; the caller looks
        found = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=resamples,
            confidence_level=level,
            method=method,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return float(found.low), float(found.high)
