"""Worth: the figures of a validation as tables of texts, however they are shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metaft.prior.goals import WHOLE, Goal, in_unit
from metaft.prior.margins import MARGIN_POINTS
from metaft.prior.wording import UNKNOWN, number_text, or_nan, p_note, p_text, share_text

_GAIN_COLUMNS = ("gain (95 %)", "p", "d_z", "w/t/l")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts.

    Attributes:
        name: One word or two, for whoever looks for it.
        title: What it shows.
        columns: Headings; the first column names the row.
        rows: One text per column in each.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def worth_tables(validation: Mapping[str, Any]) -> list[Table]:
    """Return the tables that have rows: methods, tests, slices, goals."""
    stored = validation["goals"]
    goals = [Goal(**{**goal, "measured": or_nan(goal["measured"])}) for goal in stored]
    compared = validation["comparisons"]
    tables = [
        methods_table(validation),
        _tests_table("points", "Points that learned gains on its rivals", compared),
        _tests_table("normalised_regret_saved", "Normalised regret that learned saves", compared),
        _tests_table("points", "Points that learned-race gains", validation["race"], "race"),
        _slices_table(validation),
        _transfer_table(validation["transfer"]),
        _goals_table([goal for goal in goals if goal.scope == WHOLE]),
        _slice_goals_table([goal for goal in goals if goal.scope != WHOLE]),
    ]
    return [table for table in tables if table.rows]


def methods_table(validation: Mapping[str, Any]) -> Table:
    """Return what each method is worth; what was not measured is a dash."""
    ranks = validation.get("ranks", {}).get("mean_ranks", {})
    rows = tuple(
        (
            name,
            number_text(figures["points"]),
            number_text(figures["regret"]),
            number_text(figures["normalised_regret"]),
            number_text(ranks.get(name), 1),
            number_text(figures.get("runs"), 1),
            number_text(figures["relative_seconds"]),
            share_text(figures["failed"]),
        )
        for name, figures in validation["methods"].items()
    )
    columns = ("method", "points", "regret", "normalised", "rank", "runs", "time", "failed")
    sort = validation.get("sort", "classes")
    of_what = "" if sort == "classes" else f" of {sort}"
    return Table("methods", f"{validation['tasks']} tasks{of_what}, each left out", columns, rows)


def screening_table(screening: Mapping[str, Any]) -> Table:
    """Return what each screened level gained on the base recipe, the best first."""
    rows = tuple(
        (
            level["field"],
            str(level["value"]),
            str(level["tasks"]),
            number_text(level["points"]),
            number_text(level["validation_points"]),
            p_text(level["t_test_p_holm"]),
            p_text(level["wilcoxon_p_holm"]),
            "/".join(str(count) for count in level["win_tie_loss"]),
            number_text(level["time_ratio"]),
            share_text(level["failed"]),
        )
        for level in screening["levels"]
    )
    columns = ("field", "value", "tasks", "gain", "validation", "t", "Wilcoxon", "w/t/l")
    title = "Points that one other field gains on the base recipe (p after Holm's correction)"
    return Table("screening", title, (*columns, "time", "failed"), rows)


def screening_note(screening: Mapping[str, Any]) -> str:
    """Say in a sentence what is adopted, and what the control found."""
    adopted = screening["adopted"]
    verdict = (
        f"Suggestions take {adopted['field']}={adopted['value']} over"
        if adopted
        else "No level is shown to help, so suggestions keep the plain values"
    )
    return (
        f"{verdict}. With base and level exchanged at random within tasks, "
        f"{screening['control_adopted']} of {screening['controls']} repeats adopted one."
    )


def worth_notes(validation: Mapping[str, Any]) -> list[str]:
    """Return in sentences what the tables do not say: ranks, control, forecasts."""
    if not validation["methods"]:
        return []
    return [
        f"No worse: both one-sided tests reject a loss of {MARGIN_POINTS:g} points or more.",
        *_ranks_note(validation["ranks"]),
        _control_note(validation),
        _forecast_note(validation),
        *_elsewhere_note(validation["transfer"]),
    ]


def _ranks_note(ranks: Mapping[str, Any]) -> Iterator[str]:
    if ranks:
        yield (
            f"That all methods rank alike: Friedman {p_note(ranks['friedman_p'])}, Iman and "
            f"Davenport {p_note(ranks['iman_davenport_p'])}. Mean ranks closer than "
            f"{number_text(ranks['critical_difference'])} are not told apart (Nemenyi, .05)."
        )


def _control_note(validation: Mapping[str, Any]) -> str:
    control = validation["control"]
    gains = {
        name: ", ".join(number_text(gain) for gain in control[f"{name}_gain_points"])
        for name in ("learned", "surrogate")
    }
    return (
        "Negative control, features shuffled across tasks: the prior gains "
        f"{gains['learned']} points on what is pooled without them "
        f"({p_note(control['learned_gain_p'])}), its model "
        f"alone {gains['surrogate']} ({p_note(control['surrogate_gain_p'])})."
    )


def _forecast_note(validation: Mapping[str, Any]) -> str:
    interval = validation["interval"]
    width = or_nan(interval["mean_half_width"])
    wide = f"{width:.2f} points" if math.isfinite(width) else "without bound (too few tasks)"
    coverage, seconds, memory = map(
        share_text,
        (
            interval["coverage"],
            validation["training_seconds"]["median_relative_error"],
            validation["peak_memory_mib"]["median_relative_error"],
        ),
    )
    return (
        f"The 90 % interval held {coverage} of the scores of left-out tasks; its mean half-width "
        f"is {wide}. Median relative error of the predicted training time {seconds}, of the peak "
        f"memory {memory}."
    )


def _elsewhere_note(transfer: Mapping[str, Any]) -> Iterator[str]:
    if transfer["hidden"]:
        yield (
            "For a size or backbone that was never recorded the interval is as wide as 90 % of "
            "the scores needed when these were hidden: half of it is "
            f"{number_text(transfer['relative_width'])} times the square root of the score times "
            "what it lacks to 100."
        )


def _tests_table(
    measure: str, title: str, compared: Mapping[str, Any], name: str | None = None
) -> Table:
    """Lay the tests of a measure out; p-values are corrected for their number."""
    rows = []
    for pair, both in compared.items():
        tested = _tested(both[measure])
        no_worse = ("yes" if both["no_worse"]["is_shown"] else "no",) if measure == "points" else ()
        rows.append(
            (pair.removeprefix("learned - ").removeprefix("learned-race - "), *tested, *no_worse)
        )
    columns = ["rival", "mean (95 %)", "shift", "t", "Wilcoxon", "d_z", "w/t/l"]
    if measure == "points":
        columns.append("no worse")
    full = f"{title} (p after Holm's correction)"
    return Table(name or measure, full, tuple(columns), tuple(rows))


def _tested(figures: Mapping[str, Any]) -> tuple[str, ...]:
    interval = f"{number_text(figures['mean_low'])}, {number_text(figures['mean_high'])}"
    return (
        f"{number_text(figures['mean'])} ({interval})",
        number_text(figures["shift"]),
        p_text(figures["t_test_p_holm"]),
        p_text(figures["wilcoxon_p_holm"]),
        number_text(figures["effect_size"]),
        "/".join(str(count) for count in figures["win_tie_loss"]),
    )


def _slices_table(validation: Mapping[str, Any]) -> Table:
    """Lay out the regret within each backbone and size, and the gain on best-average there."""
    rows = []
    for part in validation["slices"]:
        against, methods = part["learned - average"], part["methods"]
        shown = ("plain", against.get("rival", ""), "learned")
        regrets = (methods.get(name, {}).get("regret") for name in shown)
        names = (_short(part["slice"]), str(part["tasks"]))
        gain = _gain_on_average(part)
        rows.append((*names, *map(number_text, regrets), *gain, share_text(part.get("coverage"))))
    columns = ("backbone, rows", "tasks", "plain", "average", "learned")
    title = "Regret by backbone and size; points learned gains on the better average (larger p)"
    return Table("slices", title, (*columns, *_GAIN_COLUMNS, "coverage"), tuple(rows))


def _transfer_table(transfer: Mapping[str, Any]) -> Table:
    """Lay out the regret where the asked backbone, size or sort is hidden, and how sure is sure."""
    methods = ("plain", "best-average-of-all", "learned", "random-8")
    rows = []
    for part in transfer["hidden"]:
        regrets = (part["methods"].get(name, {}).get("regret") for name in methods)
        shown = (*map(number_text, regrets), *_gain_on_average(part), share_text(part["coverage"]))
        rows.append((part["asked"], str(part["tasks"]), *shown))
    columns = ("asked for", "tasks", "plain", "average of all", "learned", "random-8")
    title = "Regret where no such was recorded; points learned gains on the average (larger p)"
    return Table("transfer", title, (*columns, *_GAIN_COLUMNS, "coverage"), tuple(rows))


def _gain_on_average(part: Mapping[str, Any]) -> tuple[str, ...]:
    against = part.get("learned - average")
    return _tested_briefly(against["points"]) if against else (UNKNOWN,) * len(_GAIN_COLUMNS)


def _tested_briefly(figures: Mapping[str, Any]) -> tuple[str, ...]:
    gain, _, _, _, effect, counts = _tested(figures)
    larger = max(figures["t_test_p_holm"], figures["wilcoxon_p_holm"])
    return gain, p_text(larger), effect, counts


def _goals_table(goals: Sequence[Goal]) -> Table:
    """Lay out the goals over all blocks, and what became of them."""
    rows = tuple((goal.goal, goal.wanted, _measured(goal), _verdict(goal)) for goal in goals)
    met = sum(goal.met is True for goal in goals)
    title = f"Goals, set beforehand: {met} of {len(goals)} met"
    return Table("goals", title, ("goal", "wanted", "measured", "verdict"), rows)


def _slice_goals_table(goals: Sequence[Goal]) -> Table:
    """Lay out the goals within slices: a slice a row, a goal a column."""
    columns = dict.fromkeys(f"{goal.goal} ({goal.wanted})" for goal in goals)
    cells = {
        (
            goal.scope,
            f"{goal.goal} ({goal.wanted})",
        ): f"{_measured(goal).removesuffix(' points')}, {_verdict(goal)}"
        for goal in goals
    }
    rows = tuple(
        (_short(scope), *(cells.get((scope, column), UNKNOWN) for column in columns))
        for scope in dict.fromkeys(goal.scope for goal in goals)
    )
    return Table("slice-goals", "Goals by backbone and size", ("backbone, rows", *columns), rows)


def _short(scope: str) -> str:
    return scope.replace(" rows", "")


def _measured(goal: Goal) -> str:
    return UNKNOWN if math.isnan(goal.measured) else in_unit(goal.measured, goal.unit)


def _verdict(goal: Goal) -> str:
    return {True: "met", False: "missed", None: "unknown"}[goal.met]
