"""A candidate against a reference in every way that this room knows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from numpy.typing import ArrayLike

from metaft.significance.differences import finite, subtract
from metaft.significance.effects import (
    Interval,
    WinTieLoss,
    bootstrap_interval,
    count_wins,
    effect_size,
    hodges_lehmann,
)
from metaft.significance.paired import Verdict, paired_t_test, wilcoxon_test


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Everything that is said about a candidate against a reference over the same datasets.

    Attributes:
        pairs: Pairs that count.
        dropped: Pairs left out because a value was not finite.
        mean_difference: Candidate - reference; NaN without pairs.
        mean_interval: Bootstrap (BCa) interval of the mean difference.
        t_test: Two-sided paired t-test.
        wilcoxon: Two-sided Wilcoxon signed-rank test.
        effect_size: d_z, see `effect_size`.
        shift: Hodges-Lehmann shift.
        shift_interval: Its interval, the inverted Wilcoxon test.
        win_tie_loss: Counts over the datasets.
    """

    pairs: int
    dropped: int
    mean_difference: float
    mean_interval: Interval
    t_test: Verdict
    wilcoxon: Verdict
    effect_size: float
    shift: float
    shift_interval: Interval
    win_tie_loss: WinTieLoss


def compare_paired(
    candidate: ArrayLike,
    reference: ArrayLike,
    *,
    tie: float = 0.0,
    level: float = 0.95,
    seed: int = 0,
) -> PairedComparison:
    """Compare two methods over the same datasets in every way this module knows.

    Args:
        candidate: `(datasets,)` scores, higher is better.
        reference: Likewise, of the same datasets in the same order.
        tie: Differences up to this count as ties in win/tie/loss, >= 0.
        level: Confidence of the intervals, in (0, 1).
        seed: Seed of the bootstrap.
    """
    wanted = subtract(candidate, reference)
    differences = finite(wanted)
    shift, shift_interval = hodges_lehmann(differences, level)
    return PairedComparison(
        pairs=len(differences),
        dropped=wanted.size - len(differences),
        mean_difference=float(differences.mean()) if len(differences) else math.nan,
        mean_interval=bootstrap_interval(differences, level=level, seed=seed),
        t_test=paired_t_test(differences),
        wilcoxon=wilcoxon_test(differences),
        effect_size=effect_size(differences),
        shift=shift,
        shift_interval=shift_interval,
        win_tie_loss=count_wins(differences, tie=tie),
    )
