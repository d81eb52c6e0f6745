"""Paired tests: is the candidate better than the reference, or at least no worse?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike
from scipy import stats

from metaft.significance.differences import finite, is_constant, rank_sum_chances, signed_ranks

Alternative = Literal["two-sided", "greater", "less"]

EXACT_PAIRS = 500
"""Up to so many pairs Wilcoxon's distribution is computed, beyond it is taken as normal."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one test says.

    Attributes:
        statistic: t, W+, chi-square or F; NaN where there is too little to compute one.
        p_value: In [0, 1]; 1 where there is too little to tell.
        pairs: Pairs the test was computed over.
    """

    statistic: float
    p_value: float
    pairs: int


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """Whether a candidate is at most a margin worse, the margin being fixed beforehand.

    Attributes:
        margin: Largest difference that does not matter, > 0, in the units of the scores.
        t_test, wilcoxon: One-sided tests of "worse by the margin or more".
        is_shown: Whether both reject that at `alpha`.
        alpha: Level of both tests.
    """

    margin: float
    t_test: Verdict
    wilcoxon: Verdict
    is_shown: bool
    alpha: float


def paired_t_test(differences: ArrayLike, alternative: Alternative = "two-sided") -> Verdict:
    """Test whether the mean difference is 0, given that differences are about normal.

    Fewer than two differences give p = 1, differences that are all zero likewise. A constant
    difference other than zero is the limit: t is infinite, p is 0 (1 against the alternative).
    """
    values = finite(differences)
    if len(values) < 2:
        return Verdict(math.nan, 1.0, len(values))
    if is_constant(values):
        statistic = math.copysign(math.inf, values[0]) if values.any() else 0.0
        p_value = _t_p_value(statistic, len(values) - 1, alternative) if statistic else 1.0
        return Verdict(statistic, p_value, len(values))
    test = stats.ttest_1samp(values, 0.0, alternative=alternative)
    return Verdict(float(test.statistic), float(test.pvalue), len(values))


def wilcoxon_test(differences: ArrayLike, alternative: Alternative = "two-sided") -> Verdict:
    """Test whether differences are symmetric about 0, by their signed ranks.

    Zeros are ranked and then carry no sign (Pratt); ties share their mean rank. The p-value
    is exact given the zeros and ties: every sign of every other difference is as likely. It
    can be no smaller than 2^(1 - pairs), so five pairs never reach .05.

    Source:
        Pratt (1959), Remarks on zeros and ties in the Wilcoxon signed rank procedures.
    """
    values = finite(differences)
    ranks, signs = signed_ranks(values)
    if not signs.any():
        return Verdict(0.0, 1.0, len(values))
    statistic = float(ranks[signs > 0].sum())
    if len(values) > EXACT_PAIRS:
        options = {"zero_method": "pratt", "method": "asymptotic", "alternative": alternative}
        return Verdict(statistic, float(stats.wilcoxon(values, **options).pvalue), len(values))
    chances = rank_sum_chances(ranks[signs != 0])
    at = round(2 * statistic)
    less, greater = chances[: at + 1].sum(), chances[at:].sum()
    p_values = {"less": less, "greater": greater, "two-sided": 2 * min(less, greater)}
    return Verdict(statistic, min(1.0, float(p_values[alternative])), len(values))


def show_non_inferiority(
    differences: ArrayLike, margin: float, alpha: float = 0.05
) -> NonInferiority:
    """Test whether the candidate is less than `margin` worse than the reference.

    Args:
        differences: `(pairs,)` candidate - reference.
        margin: > 0, fixed before the differences were seen.
        alpha: Level of both one-sided tests, in (0, 1).
    """
    above_margin = finite(differences) + margin
    t_test = paired_t_test(above_margin, "greater")
    wilcoxon = wilcoxon_test(above_margin, "greater")
    is_shown = max(t_test.p_value, wilcoxon.p_value) <= alpha
    return NonInferiority(margin, t_test, wilcoxon, is_shown, alpha)


def _t_p_value(statistic: float, freedom: int, alternative: Alternative) -> float:
    tails = {
        "greater": stats.t.sf(statistic, freedom),
        "less": stats.t.cdf(statistic, freedom),
        "two-sided": 2 * stats.t.sf(abs(statistic), freedom),
    }
    return float(tails[alternative])
