"""The page: a Report as one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaft.comparing.curve_figures import draw_curves, tell_choice
from metaft.comparing.curves import TaskCurves
from metaft.comparing.drawing import Drawing, Style, styles_of
from metaft.comparing.figures import (
    draw_differences,
    draw_key,
    draw_ranks,
    draw_regret,
    draw_times,
)
from metaft.comparing.judging import MARGIN_POINTS
from metaft.comparing.report import Report
from metaft.comparing.tables import SEEN_MARK, report_tables

if TYPE_CHECKING:
    import jinja2

_TEMPLATES = Path(__file__).parent / "templates"
_TABLES = (
    "left-out",
    "methods",
    "notes",
    "predictions",
    "ranks",
    "recipes",
    "scores",
    "seconds",
    "tests",
    "tests-with-seen",
)


def render_page(report: Report, curves: Sequence[TaskCurves]) -> str:
    """Return the report as a page: tables, figures and styles inside, nothing from elsewhere."""
    styles = styles_of(report.methods)
    tables = dict.fromkeys(_TABLES) | {table.name: table for table in report_tables(report)}
    return (
        open_templates()
        .get_template("report.html")
        .render(
            report=report,
            others=[method for method in report.methods if method != report.reference],
            tables=tables,
            figures=_figures(report, styles),
            keys={section: _key(styles, section) for section in ("regret", "curves")},
            curves=[_curves(task, styles, at) for at, task in enumerate(curves)],
            margin=MARGIN_POINTS,
            seen_mark=SEEN_MARK,
        )
    )


def open_templates(*folders: Path) -> jinja2.Environment:
    """Return the templates of pages: those of some folders, and what all pages share."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, _TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _figures(report: Report, styles: dict[str, Style]) -> dict[str, list[Drawing]]:
    """Draw every figure but the learning curves, by section."""
    ranks = draw_ranks(report, styles)
    has_headline = bool(report.unseen)
    return {
        "differences": [draw_differences(report, found, styles) for found in report.judgements],
        "ranks": [ranks] if ranks else [],
        "regret": [draw_regret(report, styles)] if has_headline else [],
        "times": [draw_times(report, styles)] if has_headline else [],
    }


def _key(styles: dict[str, Style], section: str) -> list[tuple[str, Drawing]]:
    """Return every method and how it looks."""
    return [
        (method, draw_key(style, f"key-{section}-{at}"))
        for at, (method, style) in enumerate(styles.items())
    ]


def _curves(task: TaskCurves, styles: dict[str, Style], at: int) -> dict[str, Any]:
    """Return the figure of a task, and what was chosen there in words."""
    chosen = [(curve.method, tell_choice(curve)) for curve in task.methods]
    return {"drawing": draw_curves(task, styles, f"curves-{at}"), "chosen": chosen}
