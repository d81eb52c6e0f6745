"""Traces as a table: one row per run, readable with pandas alone, and back again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaft.errors import StoreError
from metaft.files import written_beside
from metaft.finetuning.outcome import Costs, EpochRecord, Scores
from metaft.recipes import FIELDS, Recipe
from metaft.traces.environment import Environment
from metaft.traces.trace import Trace

if TYPE_CHECKING:
    import pandas

# Fields of a Trace that stand in the table under their own name.
_PLAIN = (
    "trace_id",
    "schema",
    "task",
    "task_fingerprint",
    "kind",
    "metric",
    "backbone",
    "backbone_fingerprint",
    "train_rows",
    "seed",
    "status",
    "reason",
    "best_epoch",
    "epochs_to_95_percent",
    "device",
    "created_at",
    "overhead_seconds",
)
_COSTS = tuple(field.name for field in dataclasses.fields(Costs))
_ENVIRONMENT = tuple(field.name for field in dataclasses.fields(Environment))
_RECIPE = tuple(name for name in FIELDS if name != "seed")
# The recipe's `precision` keeps its name; what `auto` became stands here.
_RESOLVED_PRECISION = "resolved_precision"


def frame_from_traces(traces: Iterable[Trace]) -> pandas.DataFrame:
    """Lay traces out as a table.

    Returns:
        One row per run. Beside the fields of Trace, Recipe, Costs and Environment under
        their own names: `curve_epoch`, `curve_train_loss`, `curve_validation`, `curve_test`,
        `curve_test_half_a`, `curve_test_half_b` (of the primary metric),
        `curve_train_seconds` and `curve_evaluation_seconds` as lists with one item per
        epoch; `curve_validation_<metric>` and `curve_test_<metric>` for every other metric;
        `validation_score` and `test_score` after the best epoch; `resolved_precision`.
    """
    import pandas

    return pandas.DataFrame([_row_of(trace) for trace in traces])


def traces_from_frame(frame: pandas.DataFrame) -> list[Trace]:
    """Rebuild traces from the table that `frame_from_traces` gave.

    Raises:
        StoreError: If a column is missing.
    """
    missing = [
        name for name in ("curve_epoch", *_PLAIN, *_RECIPE) if name not in frame.columns
    ]
    if missing and len(frame):
        raise StoreError(
            f"the table of traces has no column {missing[0]!r}",
            "Give a file that metaft traces export wrote",
        )
    return [_trace_from(row) for row in frame.to_dict("records")]


def write_parquet(traces: Sequence[Trace], path: Path) -> int:
    """Write traces to a Parquet file (zstd), whole or not at all; return how many.

    Raises:
        StoreError: If the file cannot be written.
    """
    try:
        with written_beside(path) as beside:
            frame_from_traces(traces).to_parquet(
                beside, compression="zstd", index=False
            )
    except OSError as error:
        raise StoreError(
            f"the traces cannot be written to {path}: {error}",
            "Give a path that can be written",
        ) from error
    return len(traces)


def read_parquet(path: Path) -> list[Trace]:
    """Read the traces of an exported Parquet file.

    Raises:
        StoreError: If the file cannot be read or holds no traces.
    """
    import pandas

    try:
        frame = pandas.read_parquet(path)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"the traces in {path} cannot be read: {error}",
            "Give a Parquet file that metaft traces export wrote",
        ) from error
    return traces_from_frame(frame)


def _row_of(trace: Trace) -> dict[str, Any]:
    recipe = trace.recipe.to_mapping()
    return {
        **{name: getattr(trace, name) for name in _PLAIN},
        **{name: recipe[name] for name in _RECIPE},
        **_curve_columns(trace),
        "validation_score": trace.validation.get(trace.metric, math.nan),
        "test_score": trace.test.get(trace.metric, math.nan),
        **{name: getattr(trace.costs, name) for name in _COSTS},
        _RESOLVED_PRECISION: trace.precision,
        **{name: getattr(trace.environment, name) for name in _ENVIRONMENT},
    }


def _curve_columns(trace: Trace) -> dict[str, list[Any]]:
    """Return the curve column by column, each a list over the epochs."""
    curve = trace.curve
    columns: dict[str, list[Any]] = {
        "curve_epoch": [record.epoch for record in curve],
        "curve_train_loss": [record.train_loss for record in curve],
        "curve_validation": [record.validation.get(trace.metric) for record in curve],
        "curve_test": [
            record.test.get(trace.metric) for record in curve if record.test
        ],
        "curve_test_half_a": [
            record.test_halves[0] for record in curve if record.test_halves
        ],
        "curve_test_half_b": [
            record.test_halves[1] for record in curve if record.test_halves
        ],
        "curve_train_seconds": [record.train_seconds for record in curve],
        "curve_evaluation_seconds": [record.evaluation_seconds for record in curve],
    }
    for split in ("validation", "test"):
        scored = [getattr(record, split) for record in curve if getattr(record, split)]
        for metric in scored[0] if scored else ():
            if metric != trace.metric:
                columns[f"curve_{split}_{metric}"] = [
                    scores[metric] for scores in scored
                ]
    return columns


def _trace_from(row: dict[str, Any]) -> Trace:
    curve = _curve_from(row)
    best = int(row["best_epoch"])
    scored = curve[best - 1] if best else None
    recipe = Recipe.from_mapping(
        {name: _plain(row[name]) for name in _RECIPE} | {"seed": _plain(row["seed"])}
    )
    return Trace(
        **{name: _plain(row[name]) for name in _PLAIN},
        recipe=recipe,
        curve=curve,
        validation=scored.validation if scored else {},
        test=scored.test if scored else {},
        costs=Costs(**{name: _plain(row[name]) for name in _COSTS}),
        precision=row[_RESOLVED_PRECISION],
        environment=Environment(**{name: _plain(row[name]) for name in _ENVIRONMENT}),
    )


def _curve_from(row: dict[str, Any]) -> tuple[EpochRecord, ...]:
    epochs = _list(row, "curve_epoch")
    halves = list(zip(_list(row, "curve_test_half_a"), _list(row, "curve_test_half_b")))
    return tuple(
        EpochRecord(
            epoch=int(epoch),
            train_loss=_list(row, "curve_train_loss")[index],
            validation=_scores_at(row, "validation", index),
            test=_scores_at(row, "test", index),
            test_halves=halves[index] if halves else (),
            train_seconds=_list(row, "curve_train_seconds")[index],
            evaluation_seconds=_list(row, "curve_evaluation_seconds")[index],
        )
        for index, epoch in enumerate(epochs)
    )


def _scores_at(row: dict[str, Any], split: str, index: int) -> Scores:
    """Return metric -> score of one epoch; empty where the split was not scored."""
    prefix = f"curve_{split}"
    primary = _list(row, prefix)
    if not primary:
        return {}
    others = {
        name.removeprefix(f"{prefix}_"): _list(row, name)
        for name in row
        if name.startswith(f"{prefix}_")
        and name not in ("curve_test_half_a", "curve_test_half_b")
    }
    scores = {metric: values[index] for metric, values in others.items() if values}
    return {row["metric"]: primary[index], **scores}


def _list(row: dict[str, Any], name: str) -> list[Any]:
    """Return a list cell; a metric that a run does not know is a missing cell."""
    cell = row.get(name)
    if cell is None or isinstance(cell, float):
        return []
    return [_plain(value) for value in cell]


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as Python's own, and a missing number as None."""
    return value.item() if hasattr(value, "item") else value
