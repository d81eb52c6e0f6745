"""Many methods at once: Holm's correction, ranks, who cannot be told apart by them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from metaft.significance.differences import rounded_for_ranks
from metaft.significance.paired import Verdict

_ROUNDING = 1e-12
"""Friedman's statistic is the largest there can be when it is short of it by this share."""


@dataclass(frozen=True, slots=True)
class RankComparison:
    """Many methods at once: do they rank alike, and if not, which differ?

    Attributes:
        friedman: Test of "all methods rank alike", chi-square corrected for ties.
        iman_davenport: The same by the F distribution, which is less conservative.
        mean_ranks: `(methods,)`, 1 is best.
        critical_difference: Nemenyi's: methods whose mean ranks differ by more than this
            differ at `alpha`; infinite without datasets.
        groups: Methods that are not shown to differ, as places in `mean_ranks`, the best
            first; see `indistinct_groups`.
        alpha: Level of the critical difference.
    """

    friedman: Verdict
    iman_davenport: Verdict
    mean_ranks: tuple[float, ...]
    critical_difference: float
    groups: tuple[tuple[int, ...], ...]
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
    table = rounded_for_ranks(table[np.isfinite(table).all(axis=1)])
    datasets, methods = table.shape
    if not datasets:
        nothing, unknown = Verdict(math.nan, 1.0, 0), (math.nan,) * methods
        return RankComparison(nothing, nothing, unknown, math.inf, (), alpha)
    ranks = stats.rankdata(-table, axis=1).mean(axis=0)
    friedman = _friedman(table)
    critical = critical_difference(methods, datasets, alpha)
    return RankComparison(
        friedman=friedman,
        iman_davenport=iman_davenport(friedman.statistic, methods, datasets),
        mean_ranks=tuple(float(rank) for rank in ranks),
        critical_difference=critical,
        groups=tuple(indistinct_groups(ranks, critical)),
        alpha=alpha,
    )


def critical_difference(methods: int, datasets: int, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference of mean ranks.

    Args:
        methods: At least 2.
        datasets: At least 1.
        alpha: Level, over all pairs of methods together.

    Source:
        Nemenyi (1963), Distribution-free multiple comparisons; Demsar (2006), section 3.2.2.
    """
    spread = stats.studentized_range.ppf(1 - alpha, methods, np.inf) / math.sqrt(2)
    return float(spread * math.sqrt(methods * (methods + 1) / (6 * datasets)))


def iman_davenport(chi_square: float, methods: int, datasets: int) -> Verdict:
    """Turn Friedman's statistic into Iman and Davenport's.

    It follows F with (methods - 1) and (methods - 1)(datasets - 1) degrees of freedom, and
    is infinite where all datasets rank the methods in one way.

    Source:
        Iman & Davenport (1980), Approximations of the critical region of the Friedman statistic.
    """
    if datasets < 2 or not chi_square > 0:
        return Verdict(0.0, 1.0, datasets)
    freedom = methods - 1
    left = datasets * freedom - chi_square
    if left <= _ROUNDING * datasets * freedom:
        return Verdict(math.inf, 0.0, datasets)
    statistic = (datasets - 1) * chi_square / left
    p_value = stats.f.sf(statistic, freedom, freedom * (datasets - 1))
    return Verdict(float(statistic), float(p_value), datasets)


def indistinct_groups(mean_ranks: ArrayLike, critical: float) -> list[tuple[int, ...]]:
    """Group methods whose mean ranks lie within the critical difference of each other.

    Args:
        mean_ranks: `(methods,)`, 1 is best.
        critical: Ranks further apart than this differ.

    Returns:
        Groups of two methods or more that are part of no larger one, as places in
        `mean_ranks`, best method and best group first: the bars of a critical-difference
        diagram.
    """
    ranks = np.asarray(mean_ranks, dtype=float)
    order = np.argsort(ranks, kind="stable")
    groups: list[tuple[int, ...]] = []
    reached = 0
    for first in range(len(order)):
        end = int(np.searchsorted(ranks[order], ranks[order[first]] + critical, side="right"))
        if end > reached and end - first > 1:
            groups.append(tuple(int(place) for place in order[first:end]))
        reached = max(reached, end)
    return groups


def _friedman(table: np.ndarray) -> Verdict:
    datasets = len(table)
    if datasets < 2 or not np.ptp(table, axis=1).any():
        return Verdict(0.0, 1.0, datasets)
    test = stats.friedmanchisquare(*table.T)
    return Verdict(float(test.statistic), float(test.pvalue), datasets)
