"""Writing a Report: the folder that `metaft compare` leaves behind."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metaft.comparing.curves import TaskCurves
from metaft.comparing.page import render_page
from metaft.comparing.report import Report
from metaft.errors import UserError
from metaft.files import written_beside
from metaft.prior.manifest import finite
from metaft.traces.table import write_parquet
from metaft.traces.trace import Trace

JSON_FILE = "report.json"
PAGE_FILE = "report.html"
TRACES_FILE = "traces.parquet"


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
    """Write `report.html`, `report.json` and `traces.parquet`.

    Each file is written beside and renamed; other files of the folder stay.

    Args:
        folder: Created where it is missing.
        report: What was found.
        curves: Learning curves of the tasks.
        traces: The runs that the report rests on.
    """
    write_parquet(traces, folder / TRACES_FILE)
    write_text(folder / PAGE_FILE, render_page(report, curves))
    write_json(folder / JSON_FILE, report.to_mapping())


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values, whole or not at all; NaN and infinities become null."""
    write_text(path, json.dumps(finite(values), indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")
