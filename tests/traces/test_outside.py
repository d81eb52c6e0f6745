from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from metaft.errors import MappingError, TaskError
from metaft.prior.space import cuts_of
from metaft.recipes import Recipe
from metaft.traces.mapping import OutsideMapping
from metaft.traces.outside import is_outside, read_outside
from metaft.traces.table import read_parquet, write_parquet
from metaft.traces.trace import Trace

_ROOT = Path(__file__).resolve().parents[2]

# One run as the DeBERTa files have it, with made-up numbers.
_DEBERTA = {
    "iteration": 1,
    "num_train_epochs": 2,
    "train_batch_size": 56,
    "total_model_steps": 4000,
    "learning_rate": 2.5e-05,
    "warmup_steps": 400,
    "cls_drop_out": 0.25,
    "learning_curves": {
        "matched": [[1000, 0.4], [2000, 0.75], [3000, 0.5], [4000, 0.625]],
        "mismatched": [[1000, 0.3], [2000, 0.5], [3000, 0.6], [4000, 0.875]],
    },
}
_SHORT: dict[str, Any] = {
    "source": "a friend",
    "task": "reviews",
    "kind": "classification",
    "metric": "accuracy",
    "backbone": {"column": "model"},
    "train_rows": 500,
    "seed": {"column": "seed"},
    "recipe": {
        "learning_rate": {"column": "lr"},
        "epochs": 3,
        "batch_size": 16,
        "schedule": "linear",
        "warmup_fraction": 0,
    },
    "scores": {"test": {"column": "acc", "divided_by": 100}},
}
_RUNS = [
    {"model": "tiny", "seed": 0, "lr": 1e-4, "acc": 80.0},
    {"model": "tiny", "seed": 1, "lr": 1e-4, "acc": 75.0},
]


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            dialect = "excel-tab" if path.suffix == ".tsv" else "excel"
            writer = csv.DictWriter(file, rows[0].keys(), dialect=dialect)
            writer.writeheader()
            writer.writerows(rows)
    return path


def _read(
    tmp_path: Path, rows: list[dict[str, Any]], name: str = "r.jsonl", **changes: Any
) -> list[Trace]:
    mapping = OutsideMapping.from_mapping({**_SHORT, **changes})
    return read_outside(_write(tmp_path / name, rows), mapping)


def _deberta(tmp_path: Path) -> Trace:
    mapping = OutsideMapping.load(_ROOT / "scripts" / "deberta.yaml")
    path = _write(tmp_path / "deberta.jsonl", [_DEBERTA])
    (trace,) = read_outside(path, mapping, backbone="microsoft/deberta-base")
    return trace


def test_a_deberta_run(tmp_path: Path) -> None:
    trace = _deberta(tmp_path)
    assert trace.recipe == Recipe(
        learning_rate=2.5e-5,
        epochs=2,
        batch_size=56,
        schedule="linear",
        warmup_fraction=0.1,
        dropout=0.25,
    )
    assert (trace.task, trace.backbone) == ("glue/mnli", "microsoft/deberta-base")
    assert (trace.train_rows, trace.status) == (392702, "ok")
    assert [(r.epoch, r.validation, r.test) for r in trace.curve] == [
        (1, {"accuracy": 0.75}, {"accuracy": 0.5}),
        (2, {"accuracy": 0.625}, {"accuracy": 0.875}),
    ]


def test_validation_picks_the_epoch_and_test_reports(tmp_path: Path) -> None:
    trace = _deberta(tmp_path)
    assert (trace.best_epoch, trace.validation, trace.test) == (
        1,
        {"accuracy": 0.75},
        {"accuracy": 0.5},
    )


def test_a_linear_schedule_answers_for_its_whole_budget_alone(tmp_path: Path) -> None:
    assert [cell.epochs for cell in cuts_of(_deberta(tmp_path).recipe)] == [2]


def test_keys_name_the_source_and_are_not_those_of_own_runs(tmp_path: Path) -> None:
    first, second = _read(tmp_path, _RUNS)
    (other, _) = _read(tmp_path, _RUNS, source="a stranger")
    assert first.task_fingerprint == "outside:a friend: reviews"
    assert is_outside(first.backbone_fingerprint)
    assert not is_outside("f" * 16)
    assert len({first.trace_id, second.trace_id, other.trace_id}) == 3
    assert _read(tmp_path, _RUNS)[0].trace_id == first.trace_id


@pytest.mark.parametrize("name", ["r.csv", "r.tsv", "r.jsonl", "r.parquet"])
def test_every_format_reads_alike(tmp_path: Path, name: str) -> None:
    traces = _read(tmp_path, _RUNS, name)
    assert [trace.test for trace in traces] == [{"accuracy": 0.8}, {"accuracy": 0.75}]
    assert [trace.recipe.learning_rate for trace in traces] == [1e-4, 1e-4]
    assert [trace.trace_id for trace in traces] == [t.trace_id for t in _read(tmp_path, _RUNS)]


@pytest.mark.parametrize("name", ["r.csv", "r.parquet"])
def test_a_curve_may_be_text_or_lists(tmp_path: Path, name: str) -> None:
    curve = [[1.0, 0.5], [2.0, 0.75], [3.0, 0.625]]
    cell: Any = json.dumps(curve) if name.endswith("csv") else curve
    scores = {"validation": {"curve": "c"}, "test": {"curve": "c"}}
    (trace,) = _read(tmp_path, [{**_RUNS[0], "c": cell}], name, scores=scores)
    assert [record.test["accuracy"] for record in trace.curve] == [0.5, 0.75, 0.625]
    assert trace.best_epoch == 2


def test_one_score_per_run_is_a_test_score_of_the_last_epoch(tmp_path: Path) -> None:
    trace = _read(tmp_path, _RUNS)[0]
    assert [record.epoch for record in trace.curve] == [3]
    assert (trace.best_epoch, trace.validation, trace.test) == (3, {}, {"accuracy": 0.8})


def test_without_validation_no_epoch_is_picked_by_its_test_score(tmp_path: Path) -> None:
    row = {**_RUNS[0], "e1": 0.9, "e2": 0.5, "e3": 0.6}
    scores = {"test": {"columns": ["e1", "e2", "e3"]}}
    (trace,) = _read(tmp_path, [row], scores=scores)
    assert trace.test == {"accuracy": 0.6}


def test_only_epochs_scored_on_both_splits_are_kept(tmp_path: Path) -> None:
    row = {**_RUNS[0], "v1": 0.9, "v2": 0.5, "v3": 0.6}
    scores = {"validation": {"columns": ["v1", "v2", "v3"]}, "test": _SHORT["scores"]["test"]}
    (trace,) = _read(tmp_path, [row], scores=scores)
    assert [record.epoch for record in trace.curve] == [3]
    assert (trace.validation, trace.test) == ({"accuracy": 0.6}, {"accuracy": 0.8})


def test_a_run_without_its_last_score_failed(tmp_path: Path) -> None:
    rows = [_RUNS[0], {**_RUNS[1], "acc": math.nan}]
    assert [trace.status for trace in _read(tmp_path, rows, "r.csv")] == ["ok", "failed"]
    columns = {"test": {"columns": ["acc"], "divided_by": 100}}
    (short,) = _read(tmp_path, _RUNS[:1], scores=columns)
    assert (short.status, short.reason) == ("failed", "the table has no score after epoch 1")
    patient = {**_SHORT["recipe"], "early_stopping_patience": 1}
    assert _read(tmp_path, _RUNS[:1], scores=columns, recipe=patient)[0].status == "ok"


def test_a_status_may_be_told(tmp_path: Path) -> None:
    status = {"column": "state", "values": {"finished": "ok", "NaN loss": "diverged"}}
    rows = [{**_RUNS[0], "state": "finished"}, {**_RUNS[1], "state": "NaN loss", "acc": None}]
    assert [t.status for t in _read(tmp_path, rows, status=status)] == ["ok", "diverged"]


def test_time_is_spread_over_the_epochs_and_unknown_otherwise(tmp_path: Path) -> None:
    known = _read(tmp_path, [{**_RUNS[0], "s": 90}], wall_seconds={"column": "s"})[0]
    assert known.costs.wall_seconds == 90
    assert sum(record.train_seconds for record in known.curve) == 90
    unknown = _read(tmp_path, _RUNS)[0]
    assert math.isnan(unknown.costs.wall_seconds)
    assert math.isnan(unknown.costs.peak_memory_mib)


def test_traces_survive_json_and_parquet(tmp_path: Path) -> None:
    traces = [_deberta(tmp_path), *_read(tmp_path, _RUNS)]
    assert repr([Trace.from_json(trace.to_json()) for trace in traces]) == repr(traces)
    assert write_parquet(traces, tmp_path / "out.parquet") == 3
    assert repr(read_parquet(tmp_path / "out.parquet")) == repr(traces)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "acc"}, "row 1 of r.jsonl: metric is 'acc'; allowed: accuracy"),
        ({"kind": "sorting"}, "kind is 'sorting'; allowed: classification"),
        ({"status": "fine"}, "status is 'fine'; allowed: ok"),
        ({"train_rows": 0.5}, "train_rows is 0.5; allowed is a whole number from 1"),
        ({"seed": "x"}, "seed is 'x'; allowed is a whole number"),
        ({"seed": 0}, "row 2 of r.jsonl: it is the same run as row 1.*that is `seed`"),
        ({"scores": {"test": {"column": "acc"}}}, "a score is 80; allowed.*divided_by: 100"),
        ({"wall_seconds": -1}, "wall_seconds is -1; allowed is a number from 0"),
        ({"task": {"column": "none"}}, "has no column 'none'; it has model, seed, lr, acc"),
        ({"task": ""}, "task is empty"),
        (
            {"recipe": {**_SHORT["recipe"], "schedule": "zigzag"}},
            "row 1 of r.jsonl: schedule is 'zigzag'; allowed is one of constant, linear",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MappingError, match=message):
        _read(tmp_path, _RUNS, **changes)


def test_the_backbone_is_told_once(tmp_path: Path) -> None:
    values = {key: value for key, value in _SHORT.items() if key != "backbone"}
    mapping, path = OutsideMapping.from_mapping(values), _write(tmp_path / "r.csv", _RUNS)
    with pytest.raises(MappingError, match="does not name the backbone"):
        read_outside(path, mapping)
    assert read_outside(path, mapping, backbone="big")[0].backbone == "big"


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs.xlsx").write_text("")
    with pytest.raises(TaskError, match=r"runs\.xlsx.*allowed are \.csv"):
        read_outside(tmp_path / "runs.xlsx", OutsideMapping.from_mapping(_SHORT))
