from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas
import pytest

from metaft.comparing import writing
from metaft.comparing.curves import gather_curves
from metaft.comparing.report import build_report
from metaft.comparing.writing import check_out, write_report
from metaft.errors import UserError

if TYPE_CHECKING:
    from tests.comparing.conftest import Comparison

SCORES = {
    "mail": {"plain": [0.7, 0.72], "steady": [0.8, 0.78]},
    "glue/sst2": {"plain": [0.9, 0.9], "steady": ["diverged", "out_of_memory"]},
}
FILES = ["report.html", "report.json", "traces.parquet"]


def _write(comparison: Comparison, folder: Path) -> None:
    plan, traces = comparison(SCORES)
    curves = gather_curves(plan, traces)
    report = build_report(plan, traces)
    write_report(folder, report, curves=curves, traces=list(traces.values()))


def test_folder_holds_three_files_and_nothing_else(comparison: Comparison, tmp_path: Path) -> None:
    _write(comparison, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_json_is_strict(comparison: Comparison, tmp_path: Path) -> None:
    _write(comparison, tmp_path)

    def refuse(word: str) -> None:
        raise AssertionError(word)

    values = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    assert values["judgements"][0]["points"]["shift_interval"]["low"] is None
    assert values["tasks"][1]["results"][1]["runs"][0]["status"] == "diverged"


def test_traces_are_readable_with_pandas_alone(comparison: Comparison, tmp_path: Path) -> None:
    _write(comparison, tmp_path)
    frame = pandas.read_parquet(tmp_path / "traces.parquet")
    assert len(frame) == 8
    assert set(frame["status"]) == {"ok", "diverged", "out_of_memory"}


def test_report_replaces_an_older_one_and_spares_other_files(
    comparison: Comparison, tmp_path: Path
) -> None:
    (tmp_path / "report.json").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    _write(comparison, tmp_path)
    assert (tmp_path / "report.json").read_text() != "old"
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_failure_in_between_leaves_the_older_file(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report.html").write_text("old")

    def fail(*_: object) -> str:
        raise OSError("disk full")

    monkeypatch.setattr(writing, "render_page", fail)
    with pytest.raises(OSError, match="disk full"):
        _write(comparison, tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"
    assert not (tmp_path / "report.json").exists()


def test_out_is_created_or_refused_at_once(tmp_path: Path) -> None:
    check_out(tmp_path / "new" / "report")
    assert list((tmp_path / "new" / "report").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        check_out(tmp_path / "file")
