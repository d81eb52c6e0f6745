"""Writing a study's report: the folder that `metaft study` leaves behind."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from metaft.comparing.writing import write_json, write_text
from metaft.studying.page import render_study_page
from metaft.studying.plan import StudyPlan
from metaft.studying.report import StudyReport
from metaft.studying.results import FactorResults, StudyRun

PAGE_FILE = "report.html"
JSON_FILE = "results.json"
RUNS_FILE = "runs.csv"

_OF_RESULT = ("status", "reason", "score", "seconds", "peak_memory_mib", "trace_id")


def write_study(
    folder: Path,
    plan: StudyPlan,
    report: StudyReport,
    gathered: Sequence[FactorResults],
    runs: Sequence[StudyRun],
) -> None:
    """Write `report.html`, `results.json` and `runs.csv`; other files of the folder stay.

    Args:
        folder: Created where it is missing.
        plan: What was run.
        report: What was found.
        gathered: What it rests on.
        runs: Every run that is there.
    """
    write_text(folder / RUNS_FILE, _runs_table(plan, runs))
    write_text(folder / PAGE_FILE, render_study_page(report, gathered))
    write_json(folder / JSON_FILE, report.to_mapping())


def _runs_table(plan: StudyPlan, runs: Sequence[StudyRun]) -> str:
    """Return one line per run or search, with the recipe fields in which they differ."""
    varied = _varied([run.recipe.to_mapping() for run in runs])
    factors = [f"factor_{name}" for name in plan.variant.levels]
    file = io.StringIO()
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(
        [
            "task",
            "backbone",
            "metric",
            "train_rows",
            "seed",
            *factors,
            *varied,
            "trials",
            *_OF_RESULT,
        ]
    )
    lines.writerows(_line_of(plan, run, varied) for run in runs)
    return file.getvalue()


def _line_of(plan: StudyPlan, run: StudyRun, varied: Sequence[str]) -> Iterator[object]:
    unit, recipe = plan.units[run.unit], run.recipe.to_mapping()
    yield from (unit.task, unit.backbone, unit.metric, unit.rows.train, run.seed)
    yield from run.levels
    yield from (recipe[name] for name in varied)
    yield run.trials
    yield from (getattr(run.result, name) for name in _OF_RESULT)


def _varied(recipes: Sequence[dict[str, object]]) -> list[str]:
    """Return the fields in which recipes differ, but for the seed."""
    if not recipes:
        return []
    names = [name for name in recipes[0] if name != "seed"]
    return [name for name in names if len({repr(recipe[name]) for recipe in recipes}) > 1]
