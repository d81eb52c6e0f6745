"""Writing a Report: the folder that `metaft compare` leaves behind."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metaft.comparing.curves import TaskCurves
from metaft.comparing.figures import draw_learning_curves
from metaft.comparing.judging import MARGIN_POINTS
from metaft.comparing.report import Report
from metaft.comparing.tables import SEEN_MARK, Table, report_tables
from metaft.errors import UserError
from metaft.files import written_beside
from metaft.traces.table import write_parquet
from metaft.traces.trace import Trace

JSON_FILE = "report.json"
PAGE_FILE = "report.md"
TRACES_FILE = "traces.parquet"
FIGURE_FILE = "learning_curves.png"

_HOW_TO_READ = f"""## How to read this

- The unit is the dataset: scores are averaged over the seeds before any test.
- For each seed all methods train on the same rows. Validation chooses the epoch, test reports.
- A point is a hundredth of the metric: an accuracy of .75 is 75 points.
- A run that diverged, ran out of memory or failed counts with the score of always answering
  the most frequent class, and in no comparison of times.
- Seconds are wall seconds of a run by itself: encoding, frozen prefix, training and scoring
  the validation rows. Other work on the machine shows in them.
- p-values are two-sided; Holm's correction runs over the methods. Wilcoxon's test is exact.
- "No worse" is one-sided and needs both tests; its margin of {MARGIN_POINTS:g} points was fixed
  beforehand.
- A task marked {SEEN_MARK} or a relative of it is among those that the prior learned from; the
  headline tests leave it out.
"""


def check_out(folder: Path) -> None:
    """Create the folder of a report, before hours are spent on what goes into it.

    Raises:
        UserError: If it cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(
            f"the folder {folder} cannot be written: {error}", "Give another --out"
        ) from error


def write_report(
    folder: Path, report: Report, *, curves: Sequence[TaskCurves], traces: Sequence[Trace]
) -> None:
    """Write `report.json`, `report.md`, `traces.parquet` and `learning_curves.png`.

    Each file is written beside and renamed; other files of the folder stay.

    Args:
        folder: Created where it is missing.
        report: What was found.
        curves: What the figure shows, at least one task.
        traces: The runs that the report rests on.
    """
    write_parquet(traces, folder / TRACES_FILE)
    draw_learning_curves(curves, folder / FIGURE_FILE)
    _write_text(folder / PAGE_FILE, render_page(report))
    plain = _without_non_finite(report.to_mapping())
    _write_text(folder / JSON_FILE, json.dumps(plain, indent=2, allow_nan=False) + "\n")


def render_page(report: Report) -> str:
    """Return the report as Markdown."""
    others = [method for method in report.methods if method != report.reference]
    parts = [
        f"# {', '.join(others)} against {report.reference}",
        ", ".join(_settings(report)),
        *(f"> {notice}" for notice in report.notices),
        *(_render_table(table) for table in report_tables(report)),
        f"## Learning curves\n\n![Learning curves]({FIGURE_FILE})",
        _HOW_TO_READ,
    ]
    return "\n\n".join(parts)


def _settings(report: Report) -> list[str]:
    priors = [f"prior {name}" for name in report.priors]
    counts = [
        f"{len(report.tasks)} tasks",
        f"{report.seeds} seeds",
        f"{report.train_rows} training rows",
    ]
    return [*counts, *priors, report.created_at]


def _render_table(table: Table) -> str:
    lines = [table.columns, ("---",) * len(table.columns), *table.rows]
    body = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
    return f"## {table.title}\n\n{body}"


def _write_text(path: Path, text: str) -> None:
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")


def _without_non_finite(value: Any) -> Any:
    """Replace NaN and infinities by null, since JSON has no other word for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _without_non_finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_non_finite(item) for item in value]
    return value
