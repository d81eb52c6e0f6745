"""Traces as a table: readable with pandas alone, and the same traces when read back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from metaft.errors import StoreError
from metaft.finetuning.outcome import Costs, EpochRecord
from metaft.recipes import FIELDS, Recipe
from metaft.traces import table
from metaft.traces.table import (
    frame_from_traces,
    read_parquet,
    traces_from_frame,
    write_parquet,
)
from metaft.traces.trace import Trace

if TYPE_CHECKING:
    from tests.traces.conftest import TraceFactory


@pytest.fixture
def many_kinds(make_trace: TraceFactory) -> list[Trace]:
    """Return traces that differ in what they lack: metrics, scores, halves, GPU, patience."""
    regression = EpochRecord(1, math.inf, {"pearson": math.nan, "loss": 1.0}, {}, (), 1.0, 0.5)
    return [
        make_trace("a"),
        make_trace("b", recipe=Recipe(early_stopping_patience=2), prefix_seconds=None),
        make_trace(
            "c",
            kind="regression",
            metric="pearson",
            curve=(regression,),
            best_epoch=1,
            validation=regression.validation,
            test={},
            costs=Costs(1.0, 1.0, 0.5, math.nan),
        ),
        make_trace("e", costs=Costs(1.0, 1.0, None, 512.0, memory_before_mib=256.0)),
        make_trace("d", status="out_of_memory", curve=(), best_epoch=0, validation={}, test={}),
    ]


def test_traces_survive_the_way_through_parquet(many_kinds: list[Trace], tmp_path: Path) -> None:
    path = tmp_path / "traces.parquet"
    assert write_parquet(many_kinds, path) == len(many_kinds)
    # NaN is not equal to itself, but its repr is; scores may come in another order.
    assert [_sorted_repr(trace) for trace in read_parquet(path)] == [
        _sorted_repr(trace) for trace in many_kinds
    ]


def test_a_file_without_the_later_columns_is_read(make_trace, tmp_path: Path) -> None:
    path = tmp_path / "older.parquet"
    frame_from_traces([make_trace("a")]).drop(columns="memory_before_mib").to_parquet(path)
    assert read_parquet(path) == [make_trace("a")]


@pytest.mark.parametrize("rows_at_once", [1, 3])
def test_traces_survive_in_pieces(
    rows_at_once: int, many_kinds: list[Trace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A piece may lack metrics, scores or all numbers that another one has."""
    monkeypatch.setattr("metaft.traces.table._ROWS_AT_ONCE", rows_at_once)
    path = tmp_path / "traces.parquet"
    assert write_parquet(iter(many_kinds), path) == len(many_kinds)
    assert [_sorted_repr(trace) for trace in read_parquet(path)] == [
        _sorted_repr(trace) for trace in many_kinds
    ]
    assert list(tmp_path.iterdir()) == [path]


def test_traces_of_a_file_are_read_as_they_are_needed(
    many_kinds: list[Trace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "traces.parquet"
    write_parquet(many_kinds, path)
    monkeypatch.setattr("metaft.traces.table._ROWS_AT_ONCE", 1)
    rebuilt: list[int] = []
    rebuild = table.traces_from_frame
    monkeypatch.setattr(
        table, "traces_from_frame", lambda frame: rebuilt.append(len(frame)) or rebuild(frame)
    )
    assert next(table.stream_parquet(path)).trace_id == "a"
    assert rebuilt == [1]


def test_only_the_primary_test_score_survives_without_a_test_curve(
    make_trace: TraceFactory,
) -> None:
    untested = EpochRecord(1, 0.5, {"accuracy": 0.5}, {}, (), 1.0, 0.5)
    trace = make_trace(curve=(untested,), best_epoch=1, test={"accuracy": 0.75, "loss": 0.5})
    assert traces_from_frame(frame_from_traces([trace]))[0].test == {"accuracy": 0.75}


def test_table_is_readable_with_pandas_alone(make_trace: TraceFactory, tmp_path: Path) -> None:
    write_parquet([make_trace("a", precision="bf16")], tmp_path / "traces.parquet")
    row = pd.read_parquet(tmp_path / "traces.parquet").iloc[0]
    assert {*FIELDS, "trace_id", "task", "backbone", "status"} <= set(row.index)
    assert list(row["curve_epoch"]) == [1, 2]
    assert list(row["curve_validation"]) == [0.5, 0.75]
    assert list(row["curve_test"]) == [0.4375, 0.6875]
    assert list(row["curve_test_half_a"]) == [0.5, 0.75]
    assert list(row["curve_test_half_b"]) == [0.375, 0.625]
    assert list(row["curve_validation_macro_f1"]) == [0.375, 0.625]
    assert (row["validation_score"], row["test_score"]) == (0.75, 0.6875)
    assert (row["precision"], row["resolved_precision"]) == ("auto", "bf16")


def test_empty_store_gives_an_empty_table(tmp_path: Path) -> None:
    write_parquet([], tmp_path / "traces.parquet")
    assert "trace_id" in pd.read_parquet(tmp_path / "traces.parquet").columns
    assert read_parquet(tmp_path / "traces.parquet") == []


def test_other_tables_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(StoreError, match=r"no column 'trace_id'.*metaft traces export wrote"):
        read_parquet(tmp_path / "other.parquet")


@pytest.mark.parametrize("content", [None, "no parquet"])
def test_unreadable_file_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "traces.parquet"
    if content:
        path.write_text(content)
    with pytest.raises(StoreError, match=r"traces.parquet cannot be read"):
        read_parquet(path)


def test_unwritable_path_is_refused(make_trace: TraceFactory, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        write_parquet([make_trace()], tmp_path / "file" / "traces.parquet")


def _sorted_repr(trace: Trace) -> str:
    curve = [
        (sorted(record.validation.items()), sorted(record.test.items()), record.test_halves)
        for record in trace.curve
    ]
    numbers = [(r.epoch, r.train_loss, r.train_seconds, r.evaluation_seconds) for r in trace.curve]
    scores = sorted(trace.validation.items()), sorted(trace.test.items())
    others = trace.to_json().partition('"curve"')[0], trace.to_json().partition('"costs"')[2]
    return repr((curve, numbers, scores, trace.best_epoch, others))
