"""LeftOutNote: what a prior's own validation says to one suggestion.

Every prior is judged on its training tasks, each left out in turn. What that showed belongs beside
the answer: a prior of few tasks may not be shown to beat plain fine-tuning, or one fixed recipe.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metaft.prior.averages import stronger_average
from metaft.prior.choice import Goal
from metaft.prior.goals import LEVEL
from metaft.prior.margins import MARGIN_POINTS
from metaft.prior.wording import number_text, or_nan, p_note
from metaft.tasks.task import Sort


@dataclass(frozen=True, slots=True)
class Gain:
    """What the suggestions gained on a rival, over the left-out tasks.

    Attributes:
        points: Mean over the tasks.
        p_value: The larger of the paired t-test's and Wilcoxon's, after Holm's correction over all
            comparisons of the validation; NaN where the tasks are too few for one of them.
        is_no_worse: Whether a loss of 0.3 points or more is rejected by both one-sided tests.
    """

    points: float
    p_value: float
    is_no_worse: bool

    @classmethod
    def of(cls, compared: Mapping[str, Any]) -> Gain:
        """Read a comparison of `compare_methods`."""
        points = compared["points"]
        p_values = [or_nan(points[name]) for name in ("t_test_p_holm", "wilcoxon_p_holm")]
        larger = math.nan if any(map(math.isnan, p_values)) else max(p_values)
        return cls(or_nan(points["mean"]), larger, bool(compared["no_worse"]["is_shown"]))

    @property
    def is_shown(self) -> bool:
        """Whether it is a gain, by both tests."""
        return self.points > 0 and self.p_value < LEVEL

    @property
    def said(self) -> str:
        """Return it in words."""
        tested = "too few to test" if math.isnan(self.p_value) else p_note(self.p_value)
        return f"{round(self.points, 1) + 0.0:+.1f} points ({tested})"


@dataclass(frozen=True, slots=True)
class LeftOutNote:
    """What the validation says.

    Attributes:
        tasks: Left out in turn, over all sizes and backbones.
        goal: What the suggestions sought there.
        on_plain: What they gained on plain fine-tuning.
        on_average: What they gained on the recipe that is best on average, the better of the two;
            None for the goal `cost`.
        relative_seconds: Time of a suggested run, in runs of plain.
    """

    tasks: int
    goal: Goal
    on_plain: Gain
    on_average: Gain | None
    relative_seconds: float

    @property
    def said(self) -> str:
        """Return it in one sentence, with what it does not show."""
        start = f"on its {self.tasks} tasks, each left out, the prior gained {self.on_plain.said}"
        start += f" on plain in {number_text(self.relative_seconds, 1)} times the time"
        if self.on_average is None:
            shown = "" if self.on_plain.is_no_worse else "not "
            return f"{start}; {shown}shown to be no worse, to within {MARGIN_POINTS:g} points"
        better = "" if self.on_average.is_shown else ", so not shown to beat that one fixed recipe"
        return f"{start}, and {self.on_average.said} on the recipe that is best on average{better}"

    def to_mapping(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**dataclasses.asdict(self), "said": self.said}


def note_left_out(validation: Mapping[str, Any], sort: Sort, goal: Goal) -> LeftOutNote | None:
    """Return what a validation says of suggestions; None where it judged none like them.

    Args:
        validation: Of the prior's manifest.
        sort: Of the task that is asked about; figures over all blocks are those of one sort.
        goal: What is sought.
    """
    own = "learned-cost" if goal == "cost" else "learned"
    methods, compared = validation["methods"], validation["comparisons"]
    if validation.get("sort", "classes") != sort or f"{own} - plain" not in compared:
        return None
    rival = stronger_average(methods)
    on_average = compared.get(f"learned - {rival}") if goal == "score" else None
    return LeftOutNote(
        tasks=validation["tasks"],
        goal=goal,
        on_plain=Gain.of(compared[f"{own} - plain"]),
        on_average=Gain.of(on_average) if on_average else None,
        relative_seconds=or_nan(methods[own]["relative_seconds"]),
    )
