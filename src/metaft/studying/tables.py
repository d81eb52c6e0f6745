"""Tables: the numbers of a study as texts in rows and columns, however they are shown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from metaft.comparing.formatting import UNKNOWN, format_chance, format_count, format_number
from metaft.comparing.judging import Judgement
from metaft.comparing.tables import scores_table, seconds_table
from metaft.prior.worth import Table
from metaft.studying.combining import LeftOut
from metaft.studying.report import FactorReport, StudyReport
from metaft.studying.results import Convergence

_AVERAGED_OVER = "seeds, backbones and other factors"


def level_table(factor: FactorReport) -> Table:
    """Lay out the levels of a factor: score, difference, tests, cost, failures."""
    judged = {judgement.method: judgement for judgement in factor.judgements}
    columns = (
        factor.factor,
        "datasets",
        "mean score, points",
        f"less {factor.reference}, points",
        "t-test, p (Holm)",
        "Wilcoxon, p (Holm)",
        "d_z",
        "win / tie / loss",
        "epochs to 95 % of the best",
        "seconds of a run",
        f"times {factor.reference}",
        "failed runs",
    )
    rows = []
    for standing in factor.standings:
        judgement = judged.get(standing.method)
        rows.append(
            (
                standing.method,
                str(standing.datasets),
                format_number(standing.mean_points),
                *_tested(judgement),
                format_number(mean_epochs(factor, standing.method)),
                format_number(standing.seconds),
                format_number(judgement.time.ratio, digits=2) if judgement else UNKNOWN,
                f"{standing.failures} of {standing.runs}",
            )
        )
    counted = format_count(factor.blocks, "comparison")
    title = f"Levels of {factor.factor}, the first is the reference; over {counted}"
    return Table(f"levels-{factor.factor}", title, columns, tuple(rows))


def study_tables(report: StudyReport) -> dict[str, list[Table]]:
    """Return factor -> its tables: levels, scores by task, seconds by task."""
    return {
        factor.factor: [
            level_table(factor),
            scores_table(factor, _AVERAGED_OVER),
            seconds_table(factor, _AVERAGED_OVER),
        ]
        for factor in report.factors
        if factor.tasks
    }


def left_out_table(left_out: Sequence[LeftOut], *, most_named: int | None = None) -> Table | None:
    """Return what was left out; None where nothing was.

    Args:
        left_out: One by one; those that share a reason get one row.
        most_named: Tasks that a row names, the others are counted; None names all.
    """
    if not left_out:
        return None
    by_reason: dict[tuple[str, str], list[str]] = {}
    for one in left_out:
        by_reason.setdefault((one.what or "the task", one.why), []).append(one.task)
    rows = tuple((what, _named(tasks, most_named), why) for (what, why), tasks in by_reason.items())
    return Table("left-out", "Left out", ("what", "of", "why"), rows)


def _named(tasks: Sequence[str], most: int | None) -> str:
    """Name tasks, and count those that are too many."""
    if most is None or len(tasks) <= most + 1:
        return ", ".join(tasks)
    return f"{', '.join(tasks[:most])} and {len(tasks) - most} more"


def mean_epochs(factor: FactorReport, level: str) -> float:
    """Return the epochs to 95 % of the best, mean over the tasks of the tests; NaN for none."""
    found = [one.epochs for _, one in convergence_of(factor, level).items()]
    return statistics.fmean(found) if found else math.nan


def convergence_of(factor: FactorReport, level: str) -> Mapping[str, Convergence]:
    """Return task -> how fast a level learned, of the tasks of the tests."""
    unseen = {task.task for task in factor.unseen}
    return {
        task: levels[level]
        for task, levels in factor.convergence.items()
        if level in levels and task in unseen
    }


def _tested(judgement: Judgement | None) -> tuple[str, ...]:
    if judgement is None:
        return (UNKNOWN,) * 5
    points, count = judgement.points, judgement.points.win_tie_loss
    return (
        format_number(points.mean_difference, sign=True),
        format_chance(judgement.t_test_holm),
        format_chance(judgement.wilcoxon_holm),
        format_number(points.effect_size, sign=True, digits=2),
        f"{count.wins} / {count.ties} / {count.losses}",
    )
