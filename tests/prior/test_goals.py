from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from metaft.prior.goals import in_unit, judge_goals

_METHODS = {
    "learned": {"points": 80.0, "regret": 1.4, "normalised_regret": 0.3, "failed": 0.0},
    "learned-cost": {"points": 78.0, "regret": 3.0, "failed": 0.01, "relative_seconds": 0.4},
    "plain": {"points": 76.0},
    "best-average": {"points": 78.0, "normalised_regret": 0.5},
    "best-average-of-all": {"points": 77.0, "normalised_regret": 0.2},
    "1-nn": {"normalised_regret": 0.6},
    "10-nn": {"normalised_regret": 0.375},
}
_SHOWN = {
    "points": {
        "mean": 3.5,
        "t_test_p": 1e-4,
        "wilcoxon_p": 1e-5,
        "t_test_p_holm": 1e-3,
        "wilcoxon_p_holm": 0.04,
        "effect_size": 0.5,
    },
    "no_worse": {"t_test_p": 0.01, "wilcoxon_p": 0.02, "is_shown": True},
}
_RIVALS = ("plain", "best-average", "best-average-of-all", "random-8", "tpe-8")


@pytest.fixture
def figures() -> dict[str, Any]:
    """Return figures that meet every goal, most of them narrowly."""
    compared = [f"learned - {rival}" for rival in _RIVALS] + ["learned-cost - plain"]
    return copy.deepcopy(
        {
            "tasks": 60,
            "methods": _METHODS,
            "comparisons": {name: copy.deepcopy(_SHOWN) for name in compared},
            "slices": [],
            "control": {"learned_gain_points": [0.1, -0.1, 0.3], "learned_gain_p": 0.2},
            "interval": {"coverage": 0.93},
            "training_seconds": {"median_relative_error": 0.15},
            "peak_memory_mib": {"median_relative_error": 0.1},
        }
    )


def _missed(figures: dict[str, Any]) -> list[str]:
    return [goal.goal for goal in judge_goals(figures) if goal.met is not True]


def test_every_goal_can_be_met(figures) -> None:
    assert _missed(figures) == []
    measured = {goal.goal: goal.measured for goal in judge_goals(figures)}
    assert len(measured) == 17
    assert measured["normalised regret under best-average"] == pytest.approx(0.4)
    assert measured["normalised regret under the best k-nn"] == pytest.approx(0.2)
    assert measured["above best-average, both tests after Holm"] == 0.04
    assert measured["learned above plain, both tests"] == 1e-4
    assert measured["gain with shuffled features"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("path", "value", "goal"),
    [
        (("tasks",), 59, "tasks left out"),
        (("methods", "learned", "regret"), 1.51, "mean regret"),
        (
            ("methods", "best-average", "normalised_regret"),
            0.49,
            "normalised regret under best-average",
        ),
        (("methods", "1-nn", "normalised_regret"), 0.37, "normalised regret under the best k-nn"),
        (
            ("comparisons", "learned - best-average", "points", "wilcoxon_p_holm"),
            0.05,
            "above best-average, both tests after Holm",
        ),
        (
            ("comparisons", "learned - best-average", "points", "effect_size"),
            0.49,
            "effect size d_z of that",
        ),
        (
            ("comparisons", "learned - tpe-8", "no_worse", "is_shown"),
            False,
            "one run less than 0.3 worse than tpe-8",
        ),
        (("comparisons", "learned - plain", "points", "mean"), 2.9, "learned above plain"),
        (
            ("comparisons", "learned - plain", "points", "t_test_p"),
            0.001,
            "learned above plain, both tests",
        ),
        (
            ("comparisons", "learned-cost - plain", "no_worse", "is_shown"),
            False,
            "learned-cost less than 0.3 worse than plain",
        ),
        (
            ("methods", "learned-cost", "relative_seconds"),
            0.41,
            "time of learned-cost, in runs of plain",
        ),
        (("methods", "learned-cost", "failed"), 0.011, "failed runs"),
        (("interval", "coverage"), 0.94, "coverage of the 90 % interval"),
        (("interval", "coverage"), 0.86, "coverage of the 90 % interval"),
        (
            ("training_seconds", "median_relative_error"),
            0.16,
            "error of the predicted time, median",
        ),
        (
            ("peak_memory_mib", "median_relative_error"),
            0.11,
            "error of the predicted memory, median",
        ),
        (("control", "learned_gain_points"), [0.3, 0.3], "gain with shuffled features"),
        (("control", "learned_gain_p"), 0.049, "gain with shuffled features"),
    ],
)
def test_each_goal_can_be_missed(figures, path: tuple[str, ...], value: Any, goal: str) -> None:
    at = figures
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    assert _missed(figures) == [goal]


def test_worse_is_never_better_however_sure(figures) -> None:
    """A two-sided test that rejects may reject the wrong way."""
    figures["comparisons"]["learned - best-average"]["points"]["mean"] = -2.0
    assert _missed(figures) == ["above best-average, both tests after Holm"]


def test_the_stronger_average_counts(figures) -> None:
    figures["methods"]["best-average-of-all"]["points"] = 79.0
    assert _missed(figures) == ["normalised regret under best-average"]


def test_what_was_not_measured_is_not_met(figures) -> None:
    figures["interval"]["coverage"] = math.nan
    figures["control"] = {"learned_gain_points": [], "learned_gain_p": 1.0}
    unknown = [goal.goal for goal in judge_goals(figures) if goal.met is None]
    assert unknown == ["coverage of the 90 % interval", "gain with shuffled features"]


def test_slices_have_their_own_goals(figures) -> None:
    part = {"slice": "bert, 512 rows", "methods": _METHODS, "learned - average": _SHOWN}
    figures["slices"] = [part, {**part, "slice": "bert, 128 rows", "learned - average": {}}]
    goals = judge_goals(figures)
    assert sum(goal.scope == "bert, 512 rows" for goal in goals) == 5
    assert sum(goal.scope == "bert, 128 rows" for goal in goals) == 3
    assert sum(goal.scope == "all" for goal in goals) == 17


def test_nothing_judged_has_no_goals(figures) -> None:
    assert judge_goals({**figures, "methods": {}}) == []


@pytest.mark.parametrize(
    ("p_value", "said"), [(0.9998, "1"), (1.0, "1"), (0.5, ".5"), (0.0004, "< .001")]
)
def test_p_values_as_they_are_read(p_value: float, said: str) -> None:
    assert in_unit(p_value, "p") == said
