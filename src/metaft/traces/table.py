"""Traces as a table: one row per run, readable with pandas alone, and back again."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from metaft.errors import StoreError
from metaft.files import written_beside
from metaft.finetuning.outcome import Costs, EpochRecord, Scores
from metaft.recipes import FIELDS, Recipe
from metaft.traces.environment import Environment
from metaft.traces.lines import read_lines
from metaft.traces.trace import FIRST_FIELDS, Trace

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
    "prefix_seconds",
)
_COSTS = tuple(field.name for field in dataclasses.fields(Costs))
_ENVIRONMENT = tuple(field.name for field in dataclasses.fields(Environment))
_RECIPE = tuple(name for name in FIELDS if name != "seed")
# Numbers that may be missing; pandas turns None among numbers into NaN.
_OPTIONAL = ("early_stopping_patience", "gpu_seconds", "prefix_seconds", "memory_before_mib")
# Columns that older files lack; their traces take the default of the field.
_LATER = frozenset({"memory_before_mib"} | (set(FIELDS) - set(FIRST_FIELDS)))
# The recipe's `precision` keeps its name; what `auto` became stands here.
_RESOLVED_PRECISION = "resolved_precision"
_CURVE = (
    "curve_epoch",
    "curve_train_loss",
    "curve_validation",
    "curve_test",
    "curve_test_half_a",
    "curve_test_half_b",
    "curve_train_seconds",
    "curve_evaluation_seconds",
)
_SCORES = ("validation_score", "test_score")
_ROWS_AT_ONCE = 10_000
_COLUMNS = (
    *_PLAIN,
    *_RECIPE,
    *_CURVE,
    *_SCORES,
    *_COSTS,
    _RESOLVED_PRECISION,
    *_ENVIRONMENT,
)


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

    rows = [_row_of(trace) for trace in traces]
    return pandas.DataFrame(rows) if rows else pandas.DataFrame(columns=list(_COLUMNS))


def traces_from_frame(frame: pandas.DataFrame) -> list[Trace]:
    """Rebuild traces from the table that `frame_from_traces` gave.

    Raises:
        StoreError: If a column is missing.
    """
    _check_columns(frame.columns)
    rows: list[dict[str, Any]] = frame.to_dict("records")  # type: ignore[assignment]
    return [_trace_from(row) for row in rows]


def write_parquet(traces: Iterable[Trace], path: Path) -> int:
    """Write traces to a Parquet file (zstd), whole or not at all; return how many.

    They are read once, and few of them are in memory at the same time.

    Raises:
        StoreError: If the file cannot be written.
    """
    try:
        with written_beside(path) as beside, TemporaryDirectory(dir=path.parent) as folder:
            return _write_pieces(traces, beside, Path(folder))
    except OSError as error:
        raise StoreError(
            f"the traces cannot be written to {path}: {error}",
            "Give a path that can be written",
        ) from error


def read_traces(path: Path) -> list[Trace]:
    """Read the traces of a Parquet file, or of JSON lines such as the runs of a pack leave.

    Raises:
        StoreError: If the file cannot be read or holds no traces.
    """
    return list(stream_traces(path))


def stream_traces(path: Path) -> Iterator[Trace]:
    """Yield what `read_traces` reads; of a Parquet file, few traces are in memory at once."""
    yield from stream_parquet(path) if _is_parquet(path) else read_lines(path)


def read_parquet(path: Path) -> list[Trace]:
    """Read the traces of an exported Parquet file.

    Raises:
        StoreError: If the file cannot be read or holds no traces.
    """
    return list(stream_parquet(path))


def stream_parquet(path: Path) -> Iterator[Trace]:
    """Yield the traces of an exported Parquet file, few of them in memory at once.

    Raises:
        StoreError: If the file cannot be read or holds no traces.
    """
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(file.schema_arrow.names)
            for rows in file.iter_batches(_ROWS_AT_ONCE):
                yield from traces_from_frame(rows.to_pandas())
    except (OSError, ValueError) as error:
        raise StoreError(
            f"the traces in {path} cannot be read: {error}",
            "Give a Parquet file that metaft traces export wrote",
        ) from error


def _write_pieces(traces: Iterable[Trace], path: Path, folder: Path) -> int:
    """Write traces piece by piece.

    A file has one schema, and which metrics there are is known when all traces were seen: so
    the pieces go to files of their own first. A metric that a piece lacks is null there.
    """
    import pyarrow as pa
    from pyarrow import parquet

    pieces: list[Path] = []
    count = 0
    for some in _pieces_of(traces):
        pieces.append(folder / f"{len(pieces)}.parquet")
        frame_from_traces(some).to_parquet(pieces[-1], compression="zstd", index=False)
        count += len(some)
    schemas = [parquet.read_schema(piece).remove_metadata() for piece in pieces]
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    with parquet.ParquetWriter(path, schema, compression="zstd") as file:
        for piece in pieces:
            parts = [schema.empty_table(), parquet.read_table(piece)]
            file.write_table(pa.concat_tables(parts, promote_options="permissive"))
    return count


def _pieces_of(traces: Iterable[Trace]) -> Iterator[list[Trace]]:
    """Cut traces into lists; no traces are one empty list, whose table has columns, too."""
    remaining = iter(traces)
    some = list(itertools.islice(remaining, _ROWS_AT_ONCE))
    yield some
    while some := list(itertools.islice(remaining, _ROWS_AT_ONCE)):
        yield some


def _check_columns(names: Iterable[str]) -> None:
    present = set(names)
    missing = [name for name in _COLUMNS if name not in present | _LATER]
    if missing:
        raise StoreError(
            f"the table of traces has no column {missing[0]!r}",
            "Give a file that metaft traces export wrote",
        )


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return path.suffix == ".parquet"


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
    curve, metric = trace.curve, trace.metric
    columns: dict[str, list[Any]] = {
        "curve_epoch": [record.epoch for record in curve],
        "curve_train_loss": [record.train_loss for record in curve],
        "curve_validation": [record.validation[metric] for record in curve if record.validation],
        "curve_test": [record.test[metric] for record in curve if record.test],
        "curve_test_half_a": [record.test_halves[0] for record in curve if record.test_halves],
        "curve_test_half_b": [record.test_halves[1] for record in curve if record.test_halves],
        "curve_train_seconds": [record.train_seconds for record in curve],
        "curve_evaluation_seconds": [record.evaluation_seconds for record in curve],
    }
    for split in ("validation", "test"):
        scored = [getattr(record, split) for record in curve if getattr(record, split)]
        for other in scored[0] if scored else ():
            if other != metric:
                columns[f"curve_{split}_{other}"] = [scores[other] for scores in scored]
    return columns


def _trace_from(row: dict[str, Any]) -> Trace:
    curve = _curve_from(row)
    best = next((record for record in curve if record.epoch == row["best_epoch"]), None)
    fields = {name: _plain(row, name) for name in _PLAIN}
    recipe = _known(row, _RECIPE)
    return Trace(
        **fields,
        recipe=Recipe.from_mapping({**recipe, "seed": fields["seed"]}),
        curve=curve,
        validation=best.validation if best else {},
        test=_best_test(row, best) if best else {},
        costs=Costs(**_known(row, _COSTS)),
        precision=row[_RESOLVED_PRECISION],
        environment=Environment(**{name: _plain(row, name) for name in _ENVIRONMENT}),
    )


def _best_test(row: dict[str, Any], best: EpochRecord) -> Scores:
    """Return the test scores of the best epoch; only the primary one without a test curve."""
    score = _plain(row, "test_score")
    return best.test or ({} if math.isnan(score) else {row["metric"]: score})


def _curve_from(row: dict[str, Any]) -> tuple[EpochRecord, ...]:
    cells = {name: _list(cell) for name, cell in row.items() if name.startswith("curve_")}
    halves = list(zip(cells["curve_test_half_a"], cells["curve_test_half_b"], strict=True))
    return tuple(
        EpochRecord(
            epoch=int(epoch),
            train_loss=cells["curve_train_loss"][at],
            validation=_scores_at(cells, "validation", row["metric"], at),
            test=_scores_at(cells, "test", row["metric"], at),
            test_halves=halves[at] if halves else (),
            train_seconds=cells["curve_train_seconds"][at],
            evaluation_seconds=cells["curve_evaluation_seconds"][at],
        )
        for at, epoch in enumerate(cells["curve_epoch"])
    )


def _scores_at(cells: dict[str, list[Any]], split: str, metric: str, at: int) -> Scores:
    """Return metric -> score of one epoch; empty where the split was not scored."""
    primary = f"curve_{split}"
    if not cells[primary]:
        return {}
    others = {
        name.removeprefix(f"{primary}_"): values[at]
        for name, values in cells.items()
        if name.startswith(f"{primary}_") and name not in _CURVE and values
    }
    return {metric: cells[primary][at], **others}


def _list(cell: Any) -> list[Any]:
    """Return a list cell; a metric that a run does not know is a missing cell."""
    if cell is None or isinstance(cell, float):
        return []
    values = [value.item() if hasattr(value, "item") else value for value in cell]
    return [math.nan if value is None else value for value in values]  # as Parquet keeps NaN


def _known(row: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return cells by name, leaving out what was added to the fields after they were written."""
    cells = {name: _plain(row, name) for name in names if name in row}
    return {name: cell for name, cell in cells.items() if name not in _LATER or not _is_empty(cell)}


def _is_empty(cell: Any) -> bool:
    """Say whether a cell of a later column holds nothing: its file was put to a newer one."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _plain(row: dict[str, Any], name: str) -> Any:
    """Return a cell as Python's own type, and a missing optional number as None."""
    cell = row[name]
    value = cell.item() if hasattr(cell, "item") else cell
    is_missing = isinstance(value, float) and math.isnan(value)
    return None if name in _OPTIONAL and is_missing else value
