"""Tables: the numbers of a Report as texts in rows and columns, however they are shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from metaft.comparing.formatting import UNKNOWN, format_chance, format_count, format_number
from metaft.comparing.judging import MARGIN_POINTS, Judgement
from metaft.comparing.report import Compared, Report
from metaft.comparing.results import POINTS, MethodResult, TaskResult
from metaft.comparing.standing import Standing
from metaft.prior.worth import Table
from metaft.recipes import PLAIN, Recipe
from metaft.significance import Interval, Verdict

SEEN_MARK = "*"
"""Behind the name of a task that a method had learned from."""

_ALL_TASKS = "all"


def report_tables(report: Report) -> list[Table]:
    """Return every table of a report that has rows, the scores first."""
    known = "all tasks, those that the prior learned from included"
    tables = [
        _standings(report),
        scores_table(report),
        seconds_table(report),
        _judgements("tests", "Differences and tests", report.judgements),
        _judgements("tests-with-seen", f"The same over {known}", report.judgements_with_seen),
        _ranks(report),
        _predictions(report),
        _recipes(report),
        _notes(report),
        Table("left-out", "Left out", ("task", "why"), tuple(report.left_out.items())),
    ]
    return [_without_empty_columns(table) for table in tables if table.rows]


def _without_empty_columns(table: Table) -> Table:
    kept = [at for at, cells in enumerate(zip(*table.rows, strict=True)) if {*cells} != {UNKNOWN}]
    return Table(
        name=table.name,
        title=table.title,
        columns=tuple(table.columns[at] for at in kept),
        rows=tuple(tuple(row[at] for at in kept) for row in table.rows),
    )


def _standings(report: Report) -> Table:
    columns = (
        "method",
        "mean score, points",
        f"less {report.reference}, points",
        "regret, points",
        "seconds of a run",
        f"times {report.reference}",
        "peak memory, MiB",
        "failed runs",
    )
    judged = {judgement.method: judgement for judgement in report.judgements}
    rows = tuple(_standing_row(one, judged.get(one.method)) for one in report.standings)
    title = f"Methods over {format_count(len(report.unseen), 'dataset')} of the headline"
    return Table("methods", title, columns, rows if report.unseen else ())


def _standing_row(standing: Standing, judgement: Judgement | None) -> tuple[str, ...]:
    return (
        standing.method,
        format_number(standing.mean_points),
        format_number(judgement.points.mean_difference, sign=True) if judgement else UNKNOWN,
        format_number(standing.regret_points) + _bounds(standing.regret_interval),
        format_number(standing.seconds),
        format_number(judgement.time.ratio, digits=2) if judgement else UNKNOWN,
        format_number(standing.peak_memory_mib, digits=0),
        f"{standing.failures} of {standing.runs}",
    )


def scores_table(report: Compared, averaged_over: str = "seeds") -> Table:
    """Lay out the score of every method on every task.

    Args:
        report: What was found.
        averaged_over: What the runs of a method on a task differ in.
    """
    others = [method for method in report.methods if method != report.reference]
    columns = (
        "task",
        "metric",
        *report.methods,
        *(f"{method} - {report.reference}" for method in others),
    )
    rows = tuple(_score_row(task, report.methods, others) for task in report.tasks)
    title = f"Test scores in points, mean and deviation over {averaged_over}"
    return Table("scores", title, columns, rows)


def _score_row(task: TaskResult, methods: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    return (
        _name(task),
        task.metric,
        *(_score(task.of(method)) if task.has(method) else UNKNOWN for method in methods),
        *(
            format_number(task.of(method).difference_points, sign=True)
            if task.has(method)
            else UNKNOWN
            for method in others
        ),
    )


def _score(result: MethodResult) -> str:
    text = format_number(POINTS * result.score)
    if not math.isnan(result.spread):
        text += f" ± {format_number(POINTS * result.spread)}"
    return text + (f" ({result.failures} failed)" if result.failures else "")


def seconds_table(report: Compared, averaged_over: str = "seeds") -> Table:
    """Lay out the seconds of a run of every method on every task; see `scores_table`."""
    rows = tuple(
        (
            _name(task),
            *(
                format_number(task.of(method).seconds) if task.has(method) else UNKNOWN
                for method in report.methods
            ),
        )
        for task in report.tasks
    )
    title = f"Wall seconds of a run, mean over {averaged_over}"
    return Table("seconds", title, ("task", *report.methods), rows)


def _judgements(name: str, title: str, judgements: Sequence[Judgement]) -> Table:
    if not judgements:
        return Table(name, title, (), ())
    measured = [_measures(judgement) for judgement in judgements]
    columns = ("", *(f"{judgement.method} - {judgement.reference}" for judgement in judgements))
    rows = tuple((what, *(measures[what] for measures in measured)) for what in measured[0])
    return Table(name, title, columns, rows)


def _measures(judgement: Judgement) -> dict[str, str]:
    """Return measure -> value of one method against the reference."""
    points, time, shown = judgement.points, judgement.time, judgement.non_inferiority
    count = points.win_tie_loss
    return {
        "datasets": str(points.pairs),
        "mean difference, points": format_number(points.mean_difference, sign=True)
        + _within(points.mean_interval, "bootstrap"),
        "paired t-test": _p_value("t", points.t_test, judgement.t_test_holm),
        "Wilcoxon signed-rank": _p_value("W+", points.wilcoxon, judgement.wilcoxon_holm),
        "effect size d_z": format_number(points.effect_size, sign=True, digits=2),
        "found four times in five, points": format_number(judgement.detectable_points),
        "datasets to show that effect": str(judgement.pairs_needed or UNKNOWN),
        "Hodges-Lehmann shift, points": format_number(points.shift, sign=True)
        + _within(points.shift_interval),
        "win / tie / loss": f"{count.wins} / {count.ties} / {count.losses}",
        f"no worse by {MARGIN_POINTS:g} points": ("shown" if shown.is_shown else "not shown")
        + f" (t p = {format_chance(shown.t_test.p_value)}, "
        f"Wilcoxon p = {format_chance(shown.wilcoxon.p_value)})",
        "time ratio": format_number(time.ratio, digits=2) + _within(time.interval, digits=2),
        "Wilcoxon on time": _p_value("W+", time.wilcoxon, time.wilcoxon_holm),
    }


def _ranks(report: Report) -> Table:
    ranks = report.ranks
    if ranks is None:
        return Table("ranks", "", (), ())
    in_order = sorted(zip(ranks.mean_ranks, report.methods, strict=True), key=lambda pair: pair[0])
    rows = (
        *((method, format_number(rank, digits=2)) for rank, method in in_order),
        ("critical difference (Nemenyi)", format_number(ranks.critical_difference, digits=2)),
        ("Friedman's test", _tested("chi-square", ranks.friedman)),
        ("Iman and Davenport's test", _tested("F", ranks.iman_davenport)),
    )
    return Table("ranks", "Mean ranks of the scores, 1 is best", ("method", "mean rank"), rows)


def _predictions(report: Report) -> Table:
    columns = ("method", "runs", "inside the interval", "mean error, points", "mean bias, points")
    rows = tuple(
        (
            check.method,
            str(check.runs),
            f"{check.inside:.0%}",
            format_number(check.mean_error_points),
            format_number(check.mean_bias_points, sign=True),
        )
        for check in report.predictions
    )
    return Table("predictions", "Predicted and reached", columns, rows)


def _recipes(report: Report) -> Table:
    rows = [row for method in report.methods for row in _recipe_rows(report.tasks, method)]
    return Table(
        "recipes", "Recipes", ("method", "task", "recipe", "predicted", "reached"), tuple(rows)
    )


def _recipe_rows(tasks: Sequence[TaskResult], method: str) -> Iterable[tuple[str, ...]]:
    """Yield a row per task, or one for all where nothing differs between them."""
    results = [task.of(method) for task in tasks]
    if any(run.found for result in results for run in result.runs):
        for task, result in zip(tasks, results, strict=True):
            yield method, _name(task), _found(result), UNKNOWN, UNKNOWN
        return
    if len({result.recipe for result in results}) == 1 and not any(r.predicted for r in results):
        yield method, _ALL_TASKS, _recipe(results[0].recipe), UNKNOWN, UNKNOWN
        return
    for task, result in zip(tasks, results, strict=True):
        reached = format_number(POINTS * result.score) if result.predicted else UNKNOWN
        yield method, _name(task), _recipe(result.recipe), _predicted(result), reached


def _notes(report: Report) -> Table:
    """Say once what a method had to do without on several tasks."""
    tasks_of: dict[tuple[str, str], list[str]] = {}
    for task in report.tasks:
        for result in task.results:
            if result.note:
                tasks_of.setdefault((result.method, result.note), []).append(_name(task))
    rows = tuple(
        (method, _ALL_TASKS if len(names) == len(report.tasks) else ", ".join(names), note)
        for (method, note), names in tasks_of.items()
    )
    return Table("notes", "What the prior had to do without", ("method", "task", "why"), rows)


def _recipe(recipe: Recipe) -> str:
    """Name the fields that differ from plain."""
    plain = PLAIN.to_mapping()
    changed = {
        name: value
        for name, value in recipe.to_mapping().items()
        if name != "seed" and value != plain[name]
    }
    texts = (
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in changed.items()
    )
    return ", ".join(texts) or "plain"


def _found(result: MethodResult) -> str:
    """Name what a search found on each seed."""
    return "; ".join(
        f"seed {run.seed}, best of {run.tried}: {_recipe(run.found)}"
        for run in result.runs
        if run.found
    )


def _predicted(result: MethodResult) -> str:
    if result.predicted is None:
        return UNKNOWN
    low, high = (
        format_number(POINTS * bound) for bound in (result.predicted.low, result.predicted.high)
    )
    return f"{format_number(POINTS * result.predicted.score)} ({low} to {high})"


def _name(task: TaskResult) -> str:
    return task.task + SEEN_MARK * task.is_seen


def _bounds(interval: Interval) -> str:
    if not math.isfinite(interval.low) or not math.isfinite(interval.high):
        return ""
    return f" ({format_number(interval.low)} to {format_number(interval.high)})"


def _within(interval: Interval, name: str = "", digits: int = 1) -> str:
    label = f"{interval.level:.0%} {name}".strip()
    if not math.isfinite(interval.low) or not math.isfinite(interval.high):
        return f" ({label}: no bounds)"
    low, high = (format_number(bound, digits=digits) for bound in (interval.low, interval.high))
    return f" ({label}: {low} to {high})"


def _p_value(letter: str, test: Verdict, corrected: float) -> str:
    return f"{_tested(letter, test)}, Holm {format_chance(corrected)}"


def _tested(letter: str, test: Verdict) -> str:
    statistic = "" if math.isnan(test.statistic) else f"{letter} = {test.statistic:.4g}, "
    return f"{statistic}p = {format_chance(test.p_value)}"
