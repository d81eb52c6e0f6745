"""Goals: what a prior was meant to reach on tasks it has not seen, and whether it does.

They were set before anything was measured, and are judged from the figures of the validation
alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from metaft.prior.averages import stronger_average
from metaft.prior.margins import MARGIN_POINTS

FEWEST_TASKS = 60
MOST_REGRET_POINTS = 1.5
LEAST_CUT_OF_AVERAGE = 0.40
LEAST_CUT_OF_NEIGHBOURS = 0.20
LEAST_EFFECT_SIZE = 0.5
LEAST_GAIN_ON_PLAIN_POINTS = 3.0
LEVEL, STRICT_LEVEL = 0.05, 0.001
MOST_COST_OF_PLAIN = 0.40
MOST_FAILED = 0.01
COVERAGE = (0.87, 0.93)
MOST_TIME_ERROR = 0.15
MOST_MEMORY_ERROR = 0.10

WHOLE = "all"
"""The scope of a goal that is judged over all blocks."""

_SEARCHES_NEAR_TEN = ("random-8", "tpe-8")
"""The goal says ten trials; of the sizes of search that are judged these are the nearest."""

_NEIGHBOURS = ("1-nn", "10-nn")


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal.

    Attributes:
        scope: `all`, or the slice of the blocks that it is judged on.
        goal: What is measured.
        wanted: What it shall be, in words.
        unit: `points`, `share` (1 is all), `p`, or nothing.
        measured: NaN where it cannot be told.
        met: None where it cannot be told.
    """

    scope: str
    goal: str
    wanted: str
    unit: str
    measured: float
    met: bool | None


def judge_goals(figures: Mapping[str, Any]) -> list[Goal]:
    """Judge the goals from the figures of a validation, all but the goals themselves."""
    if not figures["methods"]:
        return []
    return [
        *_size_goals(figures),
        *_gain_goals(WHOLE, figures["methods"], _against_average(figures)),
        *_rival_goals(figures["comparisons"]),
        *_cost_goals(figures["methods"], figures["comparisons"]),
        *_forecast_goals(figures),
        *_control_goals(figures["control"]),
        *(
            goal
            for part in figures["slices"]
            for goal in _gain_goals(part["slice"], part["methods"], part["learned - average"])
        ),
    ]


def _against_average(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    rival = stronger_average(figures["methods"])
    found: Mapping[str, Any] = figures["comparisons"].get(f"learned - {rival}", {})
    return found


def _size_goals(figures: Mapping[str, Any]) -> Iterator[Goal]:
    yield _at_least(WHOLE, "tasks left out", "", figures["tasks"], FEWEST_TASKS)


def _gain_goals(
    scope: str, methods: Mapping[str, Any], against_average: Mapping[str, Any]
) -> Iterator[Goal]:
    """Yield the goals that hold over the whole mixture and within each slice of it."""
    if "learned" not in methods:
        return
    ratio, average = methods["learned"]["normalised_regret"], stronger_average(methods)
    regret = methods["learned"]["regret"]
    yield _at_most(scope, "mean regret", "points", regret, MOST_REGRET_POINTS)
    if average:
        cut = _cut(ratio, methods[average]["normalised_regret"])
        name = "normalised regret under best-average"
        yield _at_least(scope, name, "share", cut, LEAST_CUT_OF_AVERAGE)
    near = [methods[name]["normalised_regret"] for name in _NEIGHBOURS if name in methods]
    if near:
        name = "normalised regret under the best k-nn"
        yield _at_least(scope, name, "share", _cut(ratio, min(near)), LEAST_CUT_OF_NEIGHBOURS)
    if against_average.get("points"):
        yield _better(scope, "above best-average, both tests after Holm", against_average["points"])
        effect = against_average["points"]["effect_size"]
        yield _at_least(scope, "effect size d_z of that", "", effect, LEAST_EFFECT_SIZE)


def _rival_goals(compared: Mapping[str, Any]) -> Iterator[Goal]:
    for rival in _SEARCHES_NEAR_TEN:
        if f"learned - {rival}" in compared:
            yield _no_worse(
                f"one run less than {MARGIN_POINTS:g} worse than {rival}",
                compared[f"learned - {rival}"],
            )
    plain = compared.get("learned - plain")
    if plain:
        gain = plain["points"]["mean"]
        name = "learned above plain"
        yield _at_least(WHOLE, name, "points", gain, LEAST_GAIN_ON_PLAIN_POINTS)
        p_value = max(plain["points"]["t_test_p"], plain["points"]["wilcoxon_p"])
        is_met = gain > 0 and p_value < STRICT_LEVEL
        wanted = f"p < {_plain(STRICT_LEVEL)}"
        yield Goal(WHOLE, "learned above plain, both tests", wanted, "p", p_value, is_met)


def _cost_goals(methods: Mapping[str, Any], compared: Mapping[str, Any]) -> Iterator[Goal]:
    if "learned-cost - plain" in compared:
        yield _no_worse(
            f"learned-cost less than {MARGIN_POINTS:g} worse than plain",
            compared["learned-cost - plain"],
        )
        seconds = methods["learned-cost"]["relative_seconds"]
        name = "time of learned-cost, in runs of plain"
        yield _at_most(WHOLE, name, "share", seconds, MOST_COST_OF_PLAIN)
    own = [methods[name]["failed"] for name in ("learned", "learned-cost") if name in methods]
    if own:
        yield _at_most(WHOLE, "failed runs", "share", max(own), MOST_FAILED)


def _forecast_goals(figures: Mapping[str, Any]) -> Iterator[Goal]:
    low, high = COVERAGE
    coverage = figures["interval"]["coverage"]
    is_met = None if math.isnan(coverage) else low <= coverage <= high
    wanted = f"{100 * low:g} to {100 * high:g} %"
    yield Goal(WHOLE, "coverage of the 90 % interval", wanted, "share", coverage, is_met)
    for name, figure, most in (
        ("error of the predicted time, median", "training_seconds", MOST_TIME_ERROR),
        ("error of the predicted memory, median", "peak_memory_mib", MOST_MEMORY_ERROR),
    ):
        error = figures[figure]["median_relative_error"]
        yield _at_most(WHOLE, name, "share", error, most)


def _control_goals(control: Mapping[str, Any]) -> Iterator[Goal]:
    """Yield what must vanish with shuffled features: it may be luck, and must not matter."""
    gains = control["learned_gain_points"]
    gain = sum(gains) / len(gains) if gains else math.nan
    is_met = None
    if gains:
        is_met = gain < MARGIN_POINTS and not control["learned_gain_p"] < LEVEL
    wanted = f"< {MARGIN_POINTS:g} points, p >= {_plain(LEVEL)}"
    yield Goal(WHOLE, "gain with shuffled features", wanted, "points", gain, is_met)


def _better(scope: str, name: str, points: Mapping[str, Any]) -> Goal:
    p_value = max(points["t_test_p_holm"], points["wilcoxon_p_holm"])
    is_met = points["mean"] > 0 and p_value < LEVEL
    return Goal(scope, name, f"p < {_plain(LEVEL)}", "p", p_value, is_met)


def _no_worse(name: str, compared: Mapping[str, Any]) -> Goal:
    tested = compared["no_worse"]
    p_value = max(tested["t_test_p"], tested["wilcoxon_p"])
    wanted = f"p < {_plain(LEVEL)}"
    return Goal(WHOLE, name, wanted, "p", p_value, tested["is_shown"])


def _cut(ours: float, theirs: float) -> float:
    """Return by which share ours is under theirs."""
    return 1.0 - ours / theirs if theirs > 0 else math.nan


def _at_least(scope: str, name: str, unit: str, measured: float, least: float) -> Goal:
    met = None if math.isnan(measured) else measured >= least
    return Goal(scope, name, f">= {in_unit(least, unit)}", unit, measured, met)


def _at_most(scope: str, name: str, unit: str, measured: float, most: float) -> Goal:
    met = None if math.isnan(measured) else measured <= most
    return Goal(scope, name, f"<= {in_unit(most, unit)}", unit, measured, met)


def in_unit(value: float, unit: str) -> str:
    """Return a measured value as it is read, such as `40 %`."""
    if unit == "share":
        return f"{100 * value:.3g} %"
    if unit == "p":
        return _plain(value) if value >= STRICT_LEVEL else "< .001"
    return f"{value:.3g} points" if unit == "points" else f"{value:.3g}"


def _plain(p_value: float) -> str:
    return f"{p_value:.3f}".rstrip("0").lstrip("0") if p_value < 0.9995 else "1"
