"""Measure the store and the prior's table on made-up traces of real size.

    python scripts/benchmark_store.py [--rows 10000,100000] [--store URL] [--folder DIR]

One store grows from each size to the next, and everything is measured at each. The traces have
six epochs and the digits of real ones (some 4 kB of JSON); a task has 96 of them (2 backbones x
3 sizes x 16 recipes). With --copied N the database then multiplies its rows to N by itself, and
what needs no Python for every trace is measured on those: a million rows in minutes. The memory
of a step is its peak beyond what was there before.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import hashlib
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import sqlalchemy as sa
from measuring import cost_of

from metaft.cli.output import print_answer
from metaft.finetuning.memory import peak_memory_mib, reset_peak_memory
from metaft.finetuning.outcome import Costs, EpochRecord
from metaft.prior.table import tabulate
from metaft.recipes import Recipe, design
from metaft.traces.database import open_database
from metaft.traces.environment import Environment, describe_environment
from metaft.traces.store import TraceStore
from metaft.traces.summary import summarise
from metaft.traces.table import read_parquet
from metaft.traces.tables import TRACES
from metaft.traces.trace import TEST_ROWS, TRACE_SCHEMA, VALIDATION_ROWS, Trace

RECIPES, EPOCHS = 16, 6
BACKBONES = ("sentence-transformers/all-MiniLM-L6-v2", "thenlper/gte-small")
SIZES = (128, 512, 2048)
PER_TASK = RECIPES * len(BACKBONES) * len(SIZES)
_BATCH = 10_000
_ONE_BY_ONE = 200
_RANDOM_KEYS = {
    "sqlite": "lower(hex(randomblob(16)))",
    "postgresql": "replace(gen_random_uuid()::text, '-', '')",
}
_SCORES = ("macro_f1", "precision", "recall", "loss")
_NUMBERS = 2 * (1 + len(_SCORES)) + 5  # random numbers of one epoch


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """What one step took at one size of the store.

    Attributes:
        what: In words.
        rows: Traces in the store.
        wall_seconds, cpu_seconds: Of the step.
        traces: Traces that the step went through; None where it looks up only some.
        memory_mib: Peak beyond what was there before; None where it was not measured.
        note: What else there is to say.
    """

    what: str
    rows: int
    wall_seconds: float
    cpu_seconds: float
    traces: int | None = None
    memory_mib: float | None = None
    note: str = ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one row per step and size."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        url = options.store or f"sqlite:///{folder}/traces.db"
        steps = measure(url, Path(folder), options.rows, options.most_in_memory)
        if options.copied:
            steps += measure_copied(url, options.rows[-1], options.copied)
    answer = {
        "machine": measuring.describe_machine(["sqlalchemy", "pandas", "pyarrow"]),
        "store": url.partition(":")[0],
        "steps": [dataclasses.asdict(step) for step in steps],
    }
    print_answer(answer, options.format, _render)


def measure(url: str, folder: Path, sizes: Sequence[int], most_in_memory: int) -> list[Step]:
    """Grow a store to each of some sizes, and measure at each.

    Args:
        url: A store that is empty or not there yet.
        folder: For the store's file and for exports.
        sizes: Traces, growing.
        most_in_memory: Beyond so many traces, whatever holds all of them is not tried.
    """
    store = TraceStore(url)
    made = _made_up_traces(describe_environment())
    steps: list[Step] = []
    rows = 0
    for size in sizes:
        steps += _fill(store, made, rows, size)
        rows = size
        steps += _look(store, rows)
        steps.append(
            _measured("summary", rows, lambda: summarise(store.stream()), rows, _size_note(url))
        )
        steps += _move(store, folder, rows, is_loaded=rows <= most_in_memory)
        for step in steps[-9:]:
            measuring.say(f"{step}")
    store.close()
    return steps


def measure_copied(url: str, rows: int, target: int) -> list[Step]:
    """Multiply the rows of a store within the database, and measure what still works on few.

    Args:
        url: A store that `measure` has filled.
        rows: Traces in it.
        target: Traces that it is to have.
    """
    made = _made_up_traces(describe_environment(), target)
    cost = cost_of(lambda: _copy_rows(url, rows, target))
    store = TraceStore(url)
    copied = _step("copied by the database", target, cost, target - rows, _size_note(url))
    steps = [copied, *_look(store, target), *_fill(store, made, target, target + _BATCH)]
    store.close()
    for step in steps:
        measuring.say(f"{step}")
    return steps


def _copy_rows(url: str, rows: int, target: int) -> None:
    """Copy rows under random keys, their tasks under new names."""
    engine = open_database(url)
    random_key = _RANDOM_KEYS[engine.dialect.name]
    others = ", ".join(c.name for c in TRACES.c if c.name not in ("trace_id", "task"))
    columns = f"trace_id, task, {others}"
    statement = sa.text(
        f"INSERT INTO traces ({columns}) SELECT {random_key}, task || :copy, {others} "
        "FROM (SELECT * FROM traces WHERE task NOT LIKE '%copy%' LIMIT :most) AS first"
    )
    for copy, at in enumerate(range(rows, target, rows)):
        with engine.begin() as connection:
            most = min(rows, target - at)
            connection.execute(statement, {"copy": f"_copy{copy}", "most": most})
    engine.dispose()


def _fill(store: TraceStore, made: Iterator[Trace], rows: int, size: int) -> list[Step]:
    """Add traces one by one, then in bulk up to a size; making them up is not counted."""
    few = list(itertools.islice(made, min(_ONE_BY_ONE, size - rows)))
    one_by_one = cost_of(lambda: [store.add(trace) for trace in few])
    rest = size - rows - len(few)
    bulk = measuring.Cost(0.0, 0.0)
    for at in range(0, rest, _BATCH):
        batch = list(itertools.islice(made, min(_BATCH, rest - at)))
        bulk += cost_of(lambda batch=batch: store.add_all(batch))
    return [
        _step("add one by one", rows + len(few), one_by_one, len(few)),
        _step("add in bulk", size, bulk, rest),
    ]


def _look(store: TraceStore, rows: int) -> list[Step]:
    """Ask what recorders and commands ask."""
    some = [_key(at) for at in range(0, rows, max(1, rows // RECIPES))]
    return [
        _measured("ids of all", rows, store.ids, rows),
        _measured("ids among 16", rows, lambda: store.ids(some)),
        _measured("traces of one task", rows, lambda: store.traces(task=_task(0))),
    ]


def _move(store: TraceStore, folder: Path, rows: int, *, is_loaded: bool) -> list[Step]:
    """Export, and load the export as a prior does."""
    file = folder / "traces.parquet"
    steps = [_measured("export", rows, lambda: store.export(file), rows)]
    mib = file.stat().st_size / 2**20
    steps[0] = dataclasses.replace(steps[0], note=f"{mib:,.1f} MiB")
    if is_loaded:
        traces: list[Trace] = []
        steps.append(
            _measured("read the export", rows, lambda: traces.extend(read_parquet(file)), rows)
        )
        steps.append(_measured("the prior's table", rows, lambda: tabulate(traces), rows))
    file.unlink()
    return steps


def _measured(
    what: str, rows: int, action: Callable[[], object], traces: int | None = None, note: str = ""
) -> Step:
    """Measure a step's time and memory; the memory of what is freed at once counts, too."""
    gc.collect()
    reset_peak_memory("cpu")
    before = peak_memory_mib("cpu")
    cost = cost_of(action)
    memory = peak_memory_mib("cpu") - before
    return dataclasses.replace(_step(what, rows, cost, traces, note), memory_mib=memory)


def _step(
    what: str, rows: int, cost: measuring.Cost, traces: int | None = None, note: str = ""
) -> Step:
    return Step(what, rows, cost.wall_seconds, cost.cpu_seconds, traces, note=note)


def _size_note(url: str) -> str:
    if not url.startswith("sqlite:///"):
        return ""
    file = Path(url.removeprefix("sqlite:///"))
    return f"the store's file has {file.stat().st_size / 2**20:,.0f} MiB"


def _made_up_traces(environment: Environment, first: int = 0) -> Iterator[Trace]:
    """Make up traces without end, task by task."""
    recipes = design(RECIPES, EPOCHS)
    rng = np.random.default_rng(0)
    for start in itertools.count(first, step=_BATCH):
        numbers = rng.random((_BATCH, EPOCHS, _NUMBERS)).tolist()
        for at, epochs in enumerate(numbers, start=start):
            yield _made_up(at, epochs, recipes[at % RECIPES], environment)


def _made_up(at: int, epochs: list[list[float]], recipe: Recipe, environment: Environment) -> Trace:
    curve = tuple(_record(number, values) for number, values in enumerate(epochs, start=1))
    best = max(curve, key=lambda record: record.validation["accuracy"])
    seconds = sum(record.train_seconds + record.evaluation_seconds for record in curve)
    return Trace(
        trace_id=_key(at),
        schema=TRACE_SCHEMA,
        task=_task(at),
        task_fingerprint=_key(at // PER_TASK)[:16],
        kind="classification",
        metric="accuracy",
        backbone=BACKBONES[at // RECIPES % 2],
        backbone_fingerprint="0523ed127891cd6d",
        recipe=recipe,
        train_rows=SIZES[at // (2 * RECIPES) % 3],
        seed=0,
        status="ok",
        reason="",
        curve=curve,
        best_epoch=best.epoch,
        validation=best.validation,
        test=best.test,
        costs=Costs(seconds, 0.9 * seconds, None, 1659.37890625),
        epochs_to_95_percent=best.epoch,
        precision="bf16",
        device="cpu",
        environment=environment,
        created_at="2026-01-01T00:00:00+00:00",
        overhead_seconds=0.02876239599982,
        prefix_seconds=1.73281924599982,
    )


def _record(epoch: int, values: list[float]) -> EpochRecord:
    count = len(_SCORES)
    validation = round(values[0] * VALIDATION_ROWS) / VALIDATION_ROWS
    test = round(values[1] * TEST_ROWS) / TEST_ROWS
    return EpochRecord(
        epoch=epoch,
        train_loss=values[2],
        validation={"accuracy": validation, **dict(zip(_SCORES, values[3:], strict=False))},
        test={"accuracy": test, **dict(zip(_SCORES, values[3 + count :], strict=False))},
        test_halves=(round(test, 2), round(test, 2)),
        train_seconds=5 * values[-2],
        evaluation_seconds=3 * values[-1],
    )


def _key(at: int) -> str:
    return hashlib.sha256(str(at).encode()).hexdigest()[:32]


def _task(at: int) -> str:
    return f"task_{at // PER_TASK:05}"


def _render(answer: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.table import Table

    columns = ("step", "rows", "seconds", "CPU seconds", "traces/s", "per CPU second", "MiB", "")
    table = Table(*columns)
    for step in answer["steps"]:
        seconds = [step["wall_seconds"], step["cpu_seconds"]]
        rates = [step["traces"] / clock if step["traces"] else None for clock in seconds]
        table.add_row(
            step["what"],
            f"{step['rows']:,}",
            *(f"{value:.3f}" for value in seconds),
            *("" if value is None else f"{value:,.0f}" for value in (*rates, step["memory_mib"])),
            step["note"],
        )
    machine = ", ".join(f"{name} {value}" for name, value in answer["machine"].items() if value)
    return Group(machine, f"store: {answer['store']}", table)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the store on made-up traces.")
    parser.add_argument("--rows", type=_sizes, default=(10_000, 100_000), help="sizes, growing")
    parser.add_argument("--store", help="URL of an empty store; SQLite in --folder without it")
    parser.add_argument("--folder", type=Path, help="where files go; the system's own without it")
    parser.add_argument(
        "--most-in-memory", type=int, default=100_000, help="load no more traces than this at once"
    )
    parser.add_argument("--copied", type=int, help="multiply the rows to so many at the end")
    parser.add_argument("--format", choices=("table", "json", "yaml"), default="table")
    return parser.parse_args(arguments)


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in text.split(","))
    if list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; sizes must grow, from 1")
    return sizes


if __name__ == "__main__":
    main()
