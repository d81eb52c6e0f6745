"""Comparisons: what the differences between the prior and its rivals prove.

The unit is a task. Regret in points has no test of its own where scores are means over rows:
it differs from one method to the other just as their points do, with the sign reversed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from metaft.prior.averages import stronger_average
from metaft.prior.judging import FLOOR_POINTS, Judged
from metaft.prior.margins import MARGIN_POINTS, TIE_POINTS
from metaft.prior.rivals import ONE_RUN, SEARCHES
from metaft.significance import (
    PairedComparison,
    compare_paired,
    compare_ranks,
    holm,
    show_non_inferiority,
)

MEASURES = {"points": TIE_POINTS, "normalised_regret_saved": TIE_POINTS / FLOOR_POINTS}
"""What is tested, the candidate being better above 0 -> differences up to which are ties."""

_FEWEST_RANKED = 3
_RIVALS_OF_RACE = (
    "learned",
    "plain",
    "best-average",
    "best-average-of-all",
    "race-3",
    "random-8",
    "tpe-8",
)


def compare_methods(judged: Judged) -> dict[str, Any]:
    """Test the learned choices against every rival.

    Returns:
        `learned - RIVAL` -> measure -> figures, with p-values corrected for the number of
        comparisons (Holm), and `no_worse`, the tests of non-inferiority in points.
    """
    pairs = [("learned", rival) for rival in (*ONE_RUN, *SEARCHES)] + [("learned-cost", "plain")]
    return _compare_pairs(judged, pairs)


def compare_race(judged: Judged) -> dict[str, Any]:
    """Test what is gained by racing the best few suggestions for an epoch; as above."""
    return _compare_pairs(judged, [("learned-race", rival) for rival in _RIVALS_OF_RACE])


def _compare_pairs(judged: Judged, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Test pairs of methods as one family; those that were not judged are left out."""
    pairs = [pair for pair in pairs if {*pair} <= judged.figures.keys()]
    found: dict[str, Any] = {f"{ours} - {rival}": {} for ours, rival in pairs}
    for measure in MEASURES:
        compared = [_compare(judged, ours, rival, measure) for ours, rival in pairs]
        for name, figures in zip(found, _figures_of(compared), strict=True):
            found[name][measure] = figures
    for name, (ours, rival) in zip(found, pairs, strict=True):
        gain = judged.per_task(ours, "points") - judged.per_task(rival, "points")
        found[name]["no_worse"] = _no_worse(gain)
    return found


def rank_methods(judged: Judged) -> dict[str, Any]:
    """Rank all methods by points within each task; nothing with fewer than three methods."""
    names = list(judged.figures)
    if len(names) < _FEWEST_RANKED:
        return {}
    compared = compare_ranks(np.stack([judged.per_task(name, "points") for name in names], axis=1))
    return {
        "mean_ranks": dict(zip(names, compared.mean_ranks, strict=True)),
        "friedman_p": compared.friedman.p_value,
        "iman_davenport_p": compared.iman_davenport.p_value,
        "critical_difference": compared.critical_difference,
        "not_told_apart": [[names[place] for place in group] for group in compared.groups],
    }


def compare_slices(slices: Sequence[Judged]) -> list[dict[str, Any]]:
    """Test the learned choice against the stronger best-average in each slice.

    Returns:
        One mapping per slice: the `rival`, and the figures of each measure, corrected (Holm)
        for the number of slices; an empty one where there is nothing to test.
    """
    rivals = [stronger_average(judged.means()) for judged in slices]
    pairs = [(s, rival) for s, rival in zip(slices, rivals, strict=True) if _is_tested(s, rival)]
    found: dict[Judged, dict[str, Any]] = {judged: {"rival": rival} for judged, rival in pairs}
    for measure in MEASURES:
        compared = [_compare(judged, "learned", str(rival), measure) for judged, rival in pairs]
        for figures, one in zip(found.values(), _figures_of(compared), strict=True):
            figures[measure] = one
    return [found.get(judged, {}) for judged in slices]


def _is_tested(judged: Judged, rival: str | None) -> bool:
    return rival is not None and "learned" in judged.figures


def _compare(judged: Judged, ours: str, rival: str, measure: str) -> PairedComparison:
    if measure == "points":
        better, worse = judged.per_task(ours, measure), judged.per_task(rival, measure)
    else:  # of regret, less is better
        worse, better = (judged.per_task(name, "normalised_regret") for name in (ours, rival))
    return compare_paired(better, worse, tie=MEASURES[measure])


def _figures_of(compared: Sequence[PairedComparison]) -> list[dict[str, Any]]:
    """Return the figures of comparisons that are one family for Holm's correction."""
    t_tests = holm([comparison.t_test.p_value for comparison in compared])
    wilcoxons = holm([comparison.wilcoxon.p_value for comparison in compared])
    return [
        {
            "mean": one.mean_difference,
            "mean_low": one.mean_interval.low,
            "mean_high": one.mean_interval.high,
            "shift": one.shift,
            "shift_low": one.shift_interval.low,
            "shift_high": one.shift_interval.high,
            "t_test_p": one.t_test.p_value,
            "t_test_p_holm": t_test_p,
            "wilcoxon_p": one.wilcoxon.p_value,
            "wilcoxon_p_holm": wilcoxon_p,
            "effect_size": one.effect_size,
            "win_tie_loss": list(dataclasses.astuple(one.win_tie_loss)),
        }
        for one, t_test_p, wilcoxon_p in zip(compared, t_tests, wilcoxons, strict=True)
    ]


def _no_worse(gain: np.ndarray) -> dict[str, Any]:
    tested = show_non_inferiority(gain, MARGIN_POINTS)
    return {
        "margin_points": tested.margin,
        "t_test_p": tested.t_test.p_value,
        "wilcoxon_p": tested.wilcoxon.p_value,
        "is_shown": tested.is_shown,
    }
