"""The verdict: what a comparison shows, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from metaft.comparing.judging import Judgement
from metaft.significance import fewest_pairs

ALPHA = 0.05
"""Level of every test that the verdict rests on."""

Outcome = Literal["better", "worse", "no worse", "open"]

_SAID: dict[Outcome, tuple[str, str]] = {
    "better": ("beats", "beat"),
    "no worse": (
        "is no worse, to within {margin:g} points, than",
        "are no worse, to within {margin:g} points, than",
    ),
    "open": ("is not shown to differ from", "are not shown to differ from"),
    "worse": ("loses to", "lose to"),
}
"""Outcome -> what is said of one method, of several."""

_FEW_METHODS = 2
"""With more of them the sentence leaves intervals and p-values to the tables."""


def outcome_of(judgement: Judgement) -> Outcome:
    """Say what is shown of a method; both tests must agree, corrected by Holm."""
    points = judgement.points
    if max(judgement.t_test_holm, judgement.wilcoxon_holm) <= ALPHA:
        if min(points.mean_difference, points.shift) > 0:
            return "better"
        if max(points.mean_difference, points.shift) < 0:
            return "worse"
    return "no worse" if judgement.non_inferiority.is_shown else "open"


def state_verdict(judgements: Sequence[Judgement], comparisons: int | None = None) -> str:
    """Return one sentence over all methods.

    Args:
        judgements: The headline, at least one; all over the same datasets.
        comparisons: Tests that Holm's correction is over; None for these alone.
    """
    datasets = judgements[0].points.pairs
    counted = f"{datasets} dataset{'s' * (datasets != 1)}"
    if not datasets:
        return "The prior has learned from every task or a relative of it, so nothing is shown."
    if datasets < fewest_pairs(ALPHA / (comparisons or len(judgements))):
        seen = ", ".join(_description(judgement) for judgement in judgements)
        verb = "is" if datasets == 1 else "are"
        return f"{counted} {verb} too few to show a difference; on average {seen}."
    is_short = len(judgements) <= _FEW_METHODS
    groups = {
        outcome: [one for one in judgements if outcome_of(one) == outcome] for outcome in _SAID
    }
    clauses = (_clause(outcome, group, is_short) for outcome, group in groups.items() if group)
    return f"Over {counted}, {'; '.join(clauses)}."


def _description(judgement: Judgement) -> str:
    difference = judgement.points.mean_difference
    direction = "above" if difference >= 0 else "below"
    return f"{judgement.method} lies {abs(difference):.1f} points {direction} {judgement.reference}"


def _clause(outcome: Outcome, judgements: Sequence[Judgement], is_short: bool) -> str:
    """Return the part of the sentence about the methods of which the same is shown."""
    names = [f"{one.method} ({_evidence(one, is_short)})" for one in judgements]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    said = _SAID[outcome][len(judgements) > 1]
    first = judgements[0]
    return f"{listed} {said.format(margin=first.non_inferiority.margin)} {first.reference}"


def _evidence(judgement: Judgement, is_short: bool) -> str:
    """Return the numbers behind a method's outcome; all of them where there are few methods."""
    points = judgement.points
    told = [f"{points.mean_difference:+.1f} points"]
    if is_short:
        corrected = max(judgement.t_test_holm, judgement.wilcoxon_holm)
        interval = points.mean_interval
        told.append(f"{interval.level:.0%} interval {interval.low:+.1f} to {interval.high:+.1f}")
        told.append(f"p = {corrected:.2g}")
    return ", ".join([*told, *_time(judgement)])


def _time(judgement: Judgement) -> list[str]:
    """Name the time where it is shown to differ."""
    time = judgement.time
    if math.isnan(time.ratio) or not time.wilcoxon_holm <= ALPHA:
        return []
    share = f"{time.ratio:.0%} of" if time.ratio < 1 else f"{time.ratio:.1f} times"
    return [f"in {share} its time"]
