"""read_outside: somebody else's table of runs, read as traces."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metaft.errors import MappingError, UserError
from metaft.finetuning.curve import epochs_to_share
from metaft.finetuning.outcome import Costs, EpochRecord, Status
from metaft.recipes import Recipe
from metaft.tasks.local import read_table
from metaft.tasks.task import Kind, Metric
from metaft.traces.environment import Environment
from metaft.traces.mapping import Column, OutsideMapping
from metaft.traces.rows import Row
from metaft.traces.trace import TRACE_SCHEMA, Trace, trace_id_of

_MARK = "outside:"
_NOWHERE = Environment(
    python_version="",
    torch_version="",
    transformers_version="",
    timm_version="",
    metaft_version="",
    cpu_model="",
    cpu_cores=0,
    threads=0,
    gpu_name="",
)
_CHOICES: dict[str, tuple[str, ...]] = {
    "kind": typing.get_args(Kind),
    "metric": typing.get_args(Metric),
    "status": typing.get_args(Status),
}
_LOWEST_SCORES = {"pearson": -1.0, "spearman": -1.0}


def is_outside(fingerprint: str) -> bool:
    """Say whether a fingerprint is of a task or backbone that metaft has not seen itself."""
    return fingerprint.startswith(_MARK)


def read_outside(
    path: Path, mapping: OutsideMapping, *, backbone: str | None = None
) -> list[Trace]:
    """Read a table of runs that metaft did not make.

    Args:
        path: CSV, TSV, JSON lines or Parquet; one row per run.
        mapping: What its columns mean.
        backbone: Of every run, in place of the mapping's.

    Returns:
        One trace per row. What a table cannot tell is left empty: fingerprints name the
        source, an unknown time is NaN. A run without a score after its last epoch `failed`,
        unless its recipe stops early.

    Raises:
        TaskError: If the table cannot be read.
        MappingError: If table and mapping do not fit together, or two rows are the same run.
    """
    facts = {**mapping.facts, **({} if backbone is None else {"backbone": backbone})}
    if "backbone" not in facts:
        raise MappingError(
            "the mapping does not name the backbone",
            "Add `backbone` to it, a constant or {column: NAME}, or give --backbone",
        )
    rows = read_table(path).to_pylist()
    read: dict[str, int] = {}
    traces = []
    for row in (Row(path.name, at, cells) for at, cells in enumerate(rows, start=1)):
        trace = _read_run(row, mapping, facts)
        if trace.trace_id in read:
            raise row.problem(
                f"it is the same run as row {read[trace.trace_id]}: the mapping reads the same "
                "recipe, seed, task and backbone",
                "Map the columns in which they differ; for repetitions that is `seed`",
            )
        read[trace.trace_id] = row.at
        traces.append(trace)
    return traces


def _read_run(row: Row, mapping: OutsideMapping, entries: Mapping[str, Any]) -> Trace:
    facts = {name: _read(row, entry) for name, entry in entries.items()}
    for name in _CHOICES.keys() & facts.keys():
        if facts[name] not in _CHOICES[name]:
            raise row.problem(f"{name} is {facts[name]!r}; allowed: {', '.join(_CHOICES[name])}")
    recipe = _read_recipe(row, mapping, facts.get("seed", 0))
    curve = _read_curve(row, mapping, recipe, facts)
    best = _best_of(curve, facts["metric"])
    status, reason = _status_of(facts, recipe, curve)
    task, backbone = _name(row, facts, "task"), _name(row, facts, "backbone")
    marks = [f"{_MARK}{mapping.source}: {name}" for name in (task, backbone)]
    train_rows = _train_rows(row, facts["train_rows"])
    seconds = _amount(row, facts, "wall_seconds")
    return Trace(
        trace_id=trace_id_of(marks[0], marks[1], recipe, train_rows, recipe.seed),
        schema=TRACE_SCHEMA,
        task=task,
        task_fingerprint=marks[0],
        kind=facts["kind"],
        metric=facts["metric"],
        backbone=backbone,
        backbone_fingerprint=marks[1],
        recipe=recipe,
        train_rows=train_rows,
        seed=recipe.seed,
        status=status,
        reason=reason,
        curve=curve,
        best_epoch=best.epoch if best else 0,
        validation=best.validation if best else {},
        test=best.test if best else {},
        costs=Costs(seconds, seconds, None, _amount(row, facts, "peak_memory_mib")),
        epochs_to_95_percent=_epochs_to_95_percent(curve, facts["metric"]),
        precision="",
        device="",
        environment=_NOWHERE,
        created_at="",
    )


def _read(row: Row, entry: Any) -> Any:
    return entry.read(row) if isinstance(entry, Column) else entry


def _read_recipe(row: Row, mapping: OutsideMapping, seed: Any) -> Recipe:
    values = {name: _read(row, entry) for name, entry in mapping.recipe.items()}
    try:
        return Recipe.from_mapping({**values, "seed": seed})
    except UserError as error:
        raise row.problem(error.problem, f"{error.cure}, or correct the mapping") from None


def _read_curve(
    row: Row, mapping: OutsideMapping, recipe: Recipe, facts: Mapping[str, Any]
) -> tuple[EpochRecord, ...]:
    """Return a record for each epoch after which every split of the mapping was scored.

    Without validation scores that is the last epoch alone: one picked by its own test score
    would flatter itself.
    """
    metric = facts["metric"]
    test = mapping.test.read(row, recipe.epochs)
    if mapping.validation is None:
        validation, test = {}, dict(sorted(test.items())[-1:])
    else:
        validation = mapping.validation.read(row, recipe.epochs)
    known = sorted(test.keys() & validation.keys() if mapping.validation else test)
    for score in [*test.values(), *validation.values()]:
        _check_score(row, metric, score)
    seconds = _amount(row, facts, "wall_seconds") / max(known, default=1)
    return tuple(
        EpochRecord(
            epoch=epoch,
            train_loss=math.nan,
            validation={metric: validation[epoch]} if validation else {},
            test={metric: test[epoch]},
            test_halves=(),
            train_seconds=seconds * (epoch - before),
            evaluation_seconds=math.nan,
        )
        for before, epoch in zip([0, *known], known, strict=False)
    )


def _check_score(row: Row, metric: str, score: float) -> None:
    lowest = _LOWEST_SCORES.get(metric, 0.0)
    if not lowest <= score <= 1.0:
        raise row.problem(
            f"a score is {score:g}; allowed for {metric} is a number from {lowest:g} to 1",
            "Write `divided_by: 100` beside its column if scores are per cent",
        )


def _best_of(curve: tuple[EpochRecord, ...], metric: str) -> EpochRecord | None:
    """Return the earliest record of the best validation score, or the only one."""
    return max(curve, key=lambda record: record.validation.get(metric, 0.0), default=None)


def _status_of(
    facts: Mapping[str, Any], recipe: Recipe, curve: tuple[EpochRecord, ...]
) -> tuple[Status, str]:
    if "status" in facts:
        status: Status = facts["status"]
        return status, "" if status == "ok" else "so says the table of runs"
    last = curve[-1].epoch if curve else 0
    if last == recipe.epochs or (last and recipe.early_stopping_patience):
        return "ok", ""
    return "failed", f"the table has no score after epoch {last}"


def _epochs_to_95_percent(curve: tuple[EpochRecord, ...], metric: str) -> int:
    if any(record.validation for record in curve):
        return epochs_to_share(curve, metric, 0.95)
    return curve[-1].epoch if curve else 0


def _name(row: Row, facts: Mapping[str, Any], field: str) -> str:
    name = facts[field]
    if name is None or not str(name).strip():
        raise row.problem(f"{field} is empty; allowed is a name")
    return str(name)


def _train_rows(row: Row, value: Any) -> int:
    number = row.as_number("train_rows", value)
    if number < 1 or not number.is_integer():
        raise row.problem(f"train_rows is {value!r}; allowed is a whole number from 1")
    return int(number)


def _amount(row: Row, facts: Mapping[str, Any], field: str) -> float:
    """Return seconds or MiB; NaN where they are not told."""
    value = facts.get(field)
    if value is None or value == "" or value != value:  # noqa: PLR0124 - NaN
        return math.nan
    number = row.as_number(field, value)
    if number < 0:
        raise row.problem(f"{field} is {value!r}; allowed is a number from 0")
    return number
