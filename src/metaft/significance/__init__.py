"""Is A better than B? Paired tests, corrections, effect sizes, intervals and power.

A pair is one dataset with the score of two methods; a difference is candidate - reference.
Every function has an answer for every input, and none warns: pairs with a value that is not
finite are left out, and where too few remain to tell anything the p-value is 1 and the
interval is the whole line. Numbers are float64 throughout.
"""

from metaft.significance.comparison import PairedComparison, compare_paired
from metaft.significance.effects import (
    Interval,
    WinTieLoss,
    bootstrap_interval,
    count_wins,
    effect_size,
    hodges_lehmann,
)
from metaft.significance.many import (
    RankComparison,
    compare_ranks,
    critical_difference,
    holm,
    iman_davenport,
    indistinct_groups,
)
from metaft.significance.paired import (
    NonInferiority,
    Verdict,
    paired_t_test,
    show_non_inferiority,
    wilcoxon_test,
)
from metaft.significance.power import detectable_effect, fewest_pairs, pairs_needed, power_of

__all__ = [
    "Interval",
    "NonInferiority",
    "PairedComparison",
    "RankComparison",
    "Verdict",
    "WinTieLoss",
    "bootstrap_interval",
    "compare_paired",
    "compare_ranks",
    "count_wins",
    "critical_difference",
    "detectable_effect",
    "effect_size",
    "fewest_pairs",
    "hodges_lehmann",
    "holm",
    "iman_davenport",
    "indistinct_groups",
    "paired_t_test",
    "pairs_needed",
    "power_of",
    "show_non_inferiority",
    "wilcoxon_test",
]
