"""Many methods at once: Holm's correction, Friedman's test, Nemenyi's critical difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from metaft.significance.paired import Verdict


@dataclass(frozen=True, slots=True)
class RankComparison:
    """Many methods at once: Friedman's test and Nemenyi's critical difference.

    Attributes:
        friedman: Test of "all methods rank alike".
        mean_ranks: `(methods,)`, 1 is best.
        critical_difference: Methods whose mean ranks differ by more than this differ at
            `alpha`; infinite without datasets.
        alpha: Level of the critical difference.
    """

    friedman: Verdict
    mean_ranks: tuple[float, ...]
    critical_difference: float
    alpha: float


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for being many, in their order; one that is not finite counts as 1.

    Source:
        Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    known = np.where(np.isfinite(p_values), p_values, 1.0)
    order = np.argsort(known, kind="stable")
    factors = len(known) - np.arange(len(known))
    raised = np.minimum(1.0, np.maximum.accumulate(known[order] * factors))
    adjusted = np.empty(len(known))
    adjusted[order] = raised
    return [float(value) for value in adjusted]


def compare_ranks(scores: ArrayLike, alpha: float = 0.05) -> RankComparison:
    """Compare three methods or more over the same datasets by their ranks.

    Args:
        scores: `(datasets, methods)`, higher is better; a dataset with a score that is not
            finite is left out.
        alpha: Level of the critical difference.

    Raises:
        ValueError: For fewer than three methods.

    Source:
        Demsar (2006), Statistical comparisons of classifiers over multiple data sets.
    """
    table = np.asarray(scores, dtype=float)
    if table.ndim != 2 or table.shape[1] < 3:
        raise ValueError(f"scores have shape {table.shape}; (datasets, 3 methods or more) is asked")
    table = table[np.isfinite(table).all(axis=1)]
    datasets, methods = table.shape
    if not datasets:
        unknown = (math.nan,) * methods
        return RankComparison(Verdict(math.nan, 1.0, 0), unknown, math.inf, alpha)
    ranks = stats.rankdata(-table, axis=1).mean(axis=0)
    spread = stats.studentized_range.ppf(1 - alpha, methods, np.inf) / math.sqrt(2)
    critical = spread * math.sqrt(methods * (methods + 1) / (6 * datasets))
    mean_ranks = tuple(float(rank) for rank in ranks)
    return RankComparison(_friedman(table), mean_ranks, float(critical), alpha)


def _friedman(table: np.ndarray) -> Verdict:
    datasets = len(table)
    if datasets < 2 or not np.ptp(table, axis=1).any():
        return Verdict(0.0, 1.0, datasets)
    test = stats.friedmanchisquare(*table.T)
    return Verdict(float(test.statistic), float(test.pvalue), datasets)
