"""The page: a StudyReport as one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metaft.comparing.curve_figures import draw_curves, tell_choice
from metaft.comparing.curves import TaskCurves
from metaft.comparing.drawing import Drawing, Style, styles_of
from metaft.comparing.figures import draw_differences, draw_key, draw_times
from metaft.comparing.page import open_templates
from metaft.comparing.tables import SEEN_MARK
from metaft.studying.figures import draw_convergence, draw_levels
from metaft.studying.report import FactorReport, StudyReport
from metaft.studying.results import FactorResults
from metaft.studying.tables import left_out_table, study_tables

_TEMPLATES = Path(__file__).parent / "templates"


def render_study_page(report: StudyReport, gathered: Sequence[FactorResults]) -> str:
    """Return the report as a page: tables, figures and styles inside, nothing from elsewhere.

    Args:
        report: What was found.
        gathered: What it rests on, with the curves, in the order of its factors.
    """
    tables = study_tables(report)
    sections = [
        _section(factor, found.curves, tables[factor.factor], at)
        for at, (factor, found) in enumerate(zip(report.factors, gathered, strict=True))
        if factor.tasks
    ]
    page = open_templates(_TEMPLATES).get_template("study.html")
    return page.render(
        report=report,
        sections=sections,
        left_out=left_out_table(report.left_out),
        seen_mark=SEEN_MARK,
        has_curves=any(section["curves"] for section in sections),
    )


def _section(
    factor: FactorReport, curves: Sequence[TaskCurves], tables: list[Any], at: int
) -> dict[str, Any]:
    """Return what the page shows of a factor."""
    styles = styles_of(factor.methods)
    prefix = f"f{at}-"
    judged = [one for one in factor.judgements if one.points.pairs]
    convergence = draw_convergence(factor, styles, f"{prefix}convergence")
    return {
        "id": f"factor-{at}",
        "factor": factor,
        "levels": tables[0],
        "tables": tables[1:],
        "overview": [
            *([draw_levels(factor, styles, f"{prefix}levels")] if judged else []),
            *([convergence] if convergence else []),
            *([draw_times(factor, styles, prefix)] if judged else []),
        ],
        "differences": [draw_differences(factor, one, styles, prefix) for one in judged],
        "key": _key(styles, prefix) if curves else [],
        "curves": [_curves(task, styles, f"{prefix}curves-{n}") for n, task in enumerate(curves)],
    }


def _key(styles: dict[str, Style], prefix: str) -> list[tuple[str, Drawing]]:
    return [
        (level, draw_key(style, f"{prefix}key-{at}"))
        for at, (level, style) in enumerate(styles.items())
    ]


def _curves(task: TaskCurves, styles: dict[str, Style], name: str) -> dict[str, Any]:
    """Return the figure of a task, and what was chosen there in words."""
    chosen = [(curve.method, tell_choice(curve)) for curve in task.methods]
    return {"drawing": draw_curves(task, styles, name), "chosen": chosen}
