from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from tests.traces.conftest import build_trace

from metaft import cli
from metaft.traces.store import TraceStore


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """Return the URL of a store with three traces."""
    url = f"sqlite:///{tmp_path / 'traces.db'}"
    statuses = ("ok", "ok", "diverged")
    traces = [build_trace(f"{number}", status=s) for number, s in enumerate(statuses)]
    TraceStore(url).add_all(traces)
    return url


def _traces(*options: object) -> Result:
    return CliRunner().invoke(cli.group, ["traces", *map(str, options)])


def test_summary_counts(store_url: str) -> None:
    answer = json.loads(_traces("summary", "--store", store_url, "--format", "json").stdout)
    assert answer["traces"] == 3
    assert answer["rows"][0]["statuses"] == {"ok": 2, "diverged": 1}
    assert answer["rows"][0]["backbone"] == "tiny-bert"
    assert answer["seconds_per_trace"] == pytest.approx(3.0 + 0.25 / 3)


def test_summary_table_names_the_overhead(store_url: str) -> None:
    table = _traces("summary", "--store", store_url).stdout
    assert "2 ok, 1 diverged" in table
    assert "16.2% overhead of recording" in " ".join(table.split())


def test_export_and_import_move_every_trace_once(store_url: str, tmp_path: Path) -> None:
    file, other = tmp_path / "out.parquet", f"sqlite:///{tmp_path / 'other.db'}"
    assert "3 traces written" in _traces("export", "--store", store_url, "--out", file).stdout
    assert sorted(pd.read_parquet(file)["trace_id"]) == ["0", "1", "2"]
    assert _traces("import", "--store", other, file).stdout == "3 new traces stored\n"
    assert _traces("import", "--store", other, file).stdout == "0 new traces stored\n"


@pytest.mark.parametrize("verb", [["summary"], ["export", "--out", "traces.parquet"]])
def test_a_store_that_is_not_there_is_named(tmp_path: Path, verb: list[str]) -> None:
    result = _traces(*verb, "--store", f"sqlite:///{tmp_path / 'no.db'}")
    assert result.exit_code == 2
    assert "there is no store at" in result.stderr
    assert not (tmp_path / "no.db").exists()


def test_a_file_that_is_not_there_is_named(store_url: str, tmp_path: Path) -> None:
    result = _traces("import", "--store", store_url, tmp_path / "no.parquet")
    assert result.exit_code == 2
    assert "no.parquet cannot be read" in result.stderr


_MAPPING = """
source: a friend
task: reviews
kind: classification
metric: accuracy
train_rows: 500
recipe:
  learning_rate: {column: lr}
  epochs: 3
  batch_size: 16
  schedule: linear
  warmup_fraction: 0
scores: {test: {column: acc}}
"""


@pytest.fixture
def outside(tmp_path: Path) -> tuple[Path, Path]:
    """Return somebody else's table of two runs, and its mapping."""
    table, mapping = tmp_path / "runs.csv", tmp_path / "runs.yaml"
    table.write_text("lr,acc\n1e-4,0.8\n2e-4,\n")
    mapping.write_text(_MAPPING)
    return table, mapping


def test_other_runs_are_imported_once(tmp_path: Path, outside: tuple[Path, Path]) -> None:
    store = f"sqlite:///{tmp_path / 'new.db'}"
    told = ("--store", store, outside[0], "--mapping", outside[1], "--backbone", "big")
    result = _traces("import", *told)
    assert result.stdout == "2 new traces stored\n"
    assert "1 of 2 runs count as failed" in result.stderr
    assert _traces("import", *told).stdout == "0 new traces stored\n"
    assert "1 ok, 1 failed" in " ".join(_traces("summary", "--store", store).stdout.split())


def test_a_wrong_row_leaves_no_store_behind(tmp_path: Path, outside: tuple[Path, Path]) -> None:
    outside[0].write_text("lr,acc\n1e-4,0.8\n7,0.9\n")
    store = f"sqlite:///{tmp_path / 'new.db'}"
    told = ("--store", store, outside[0], "--mapping", outside[1], "--backbone", "big")
    result = _traces("import", *told)
    assert result.exit_code == 2
    assert "row 2 of runs.csv: learning_rate is 7" in result.stderr
    assert not (tmp_path / "new.db").exists()


def test_a_backbone_without_a_mapping_is_refused(store_url: str, tmp_path: Path) -> None:
    result = _traces("import", "--store", store_url, tmp_path / "a.parquet", "--backbone", "big")
    assert result.exit_code == 2
    assert "there is no --mapping" in result.stderr
