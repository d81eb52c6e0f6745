"""`metaft traces`: what a trace store holds, and moving it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metaft.cli.options import (
    backbone_option,
    design_options,
    format_option,
    offline_option,
    store_option,
    tasks_option,
    usual_backbone,
)
from metaft.cli.output import print_answer, print_notice, progress_bar
from metaft.errors import MappingError

if TYPE_CHECKING:
    from metaft.traces.store import TraceStore
    from metaft.traces.trace import Trace


@click.group("traces")
def command() -> None:
    """Look at recorded runs, and move them from store to store."""


@command.command("summary")
@store_option
@format_option
def summary(*, store: str | None, output_format: str) -> None:
    """Count the traces, and say where the time went."""
    from metaft.traces.summary import summarise

    trace_store = _open(store)
    rows, shares = summarise(trace_store.stream())
    answer = {
        "store": trace_store.url,
        "traces": sum(row.traces for row in rows),
        **dataclasses.asdict(shares),
        "rows": [_flat(dataclasses.asdict(row)) for row in rows],
    }
    print_answer(answer, output_format, _render_summary)


@command.command("export")
@store_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="Parquet file to write: one row per run, the curve as lists.",
)
@format_option
def export(*, store: str | None, out: Path, output_format: str) -> None:
    """Write every trace to a Parquet file that pandas reads alone."""
    trace_store = _open(store)
    count = trace_store.export(out)
    answer = {"store": trace_store.url, "out": str(out), "traces": count}
    print_answer(answer, output_format, lambda a: f"{a['traces']} traces written to {a['out']}")


@command.command("import")
@store_option
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--mapping",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="MAPPING.yaml",
    help="FILE is a table of runs that metaft did not make (CSV, TSV, JSON lines, Parquet); "
    "this says what its columns mean.",
)
@click.option(
    "--backbone",
    metavar="ID",
    help="With --mapping: the backbone of every run, in place of the mapping's.",
)
@format_option
def import_command(
    *,
    store: str | None,
    file: Path,
    mapping: Path | None,
    backbone: str | None,
    output_format: str,
) -> None:
    """Store the traces of FILE: an export (Parquet), or what a pack's runs left (JSON lines).

    With --mapping, FILE is somebody else's table. Traces that are stored already stay as they
    are.
    """
    from metaft.traces.store import TraceStore, default_store_url

    outside = _read_outside(file, mapping, backbone)
    trace_store = TraceStore(store or default_store_url())
    count = trace_store.import_file(file) if outside is None else trace_store.add_all(outside)
    answer = {"store": trace_store.url, "file": str(file), "new_traces": count}
    print_answer(answer, output_format, lambda a: f"{a['new_traces']} new traces stored")


@command.command("pack")
@tasks_option
@backbone_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="PACK",
    help="File to write: one zip that Python runs.",
)
@design_options
@store_option
@offline_option
@format_option
def pack(
    *,
    selector: str,
    backbone: str | None,
    out: Path,
    recipe_count: int,
    epochs: int,
    sizes: tuple[int, ...],
    seeds: int,
    store: str | None,
    offline: bool,
    output_format: str,
) -> None:
    """Pack the runs that the store does not hold, for a machine that reaches nothing.

    There, `python PACK --out traces.jsonl` or `python -m metaft.traces.pack run PACK --out
    traces.jsonl` makes them; `metaft traces import traces.jsonl` takes the result back.
    """
    from metaft.recipes import design
    from metaft.tasks.select import select_tasks
    from metaft.traces.pack.write import write_pack
    from metaft.traces.plan import plan_runs
    from metaft.traces.store import TraceStore, default_store_url

    tasks, recipes = select_tasks(selector), design(recipe_count, epochs)
    chosen = backbone or usual_backbone(tasks)
    runs = plan_runs(tasks, chosen, recipes, sizes=sizes, seeds=seeds)
    trace_store = TraceStore(store or default_store_url())
    with progress_bar("Packing", len(tasks)) as advance:
        packed = write_pack(
            runs, trace_store, out, offline=offline, on_task=lambda name: advance(note=name)
        )
    for name, problem in packed.problems.items():
        print_notice(f"Left out {name}: {problem}")
    answer = {"out": str(out), "store": trace_store.url, **dataclasses.asdict(packed)}
    print_answer(answer, output_format, _render_pack)


def _read_outside(file: Path, mapping: Path | None, backbone: str | None) -> list[Trace] | None:
    """Read somebody else's table, before any store is touched; None where FILE is metaft's own."""
    if mapping is not None:
        from metaft.traces.mapping import OutsideMapping
        from metaft.traces.outside import read_outside

        traces = read_outside(file, OutsideMapping.load(mapping), backbone=backbone)
        failed = sum(trace.status != "ok" for trace in traces)
        if failed:
            print_notice(f"{failed} of {len(traces)} runs count as failed.")
        return traces
    if backbone is not None:
        raise MappingError(
            "--backbone is for runs that metaft did not make, and there is no --mapping",
            "Take it out, or add --mapping",
        )
    return None


def _open(url: str | None) -> TraceStore:
    """Open a store that must be there."""
    from metaft.traces.store import TraceStore, default_store_url

    return TraceStore(url or default_store_url(), must_exist=True)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Put the shares of a row beside its other facts."""
    return {**row, **row.pop("shares")}


def _render_pack(answer: dict[str, Any]) -> str:
    return (
        f"{answer['runs']} runs on {answer['tasks']} tasks packed into {answer['out']} "
        f"({answer['size_mib']:.1f} MiB, {answer['backbone_mib']:.1f} of them the backbone); "
        f"{answer['skipped']} are stored already"
    )


def _render_summary(answer: dict[str, Any]) -> Any:
    from rich.table import Table

    columns = ("backbone", "kind", "rows", "tasks", "traces", "s/trace", "overhead")
    table = Table(*columns, title=f"{answer['traces']} traces in {answer['store']}")
    for row in answer["rows"]:
        facts = [row["backbone"], row["kind"], row["train_rows"], row["tasks"]]
        statuses = ", ".join(f"{count} {status}" for status, count in row["statuses"].items())
        times = [f"{row['seconds_per_trace']:.1f}", f"{row['overhead_share']:.0%}"]
        table.add_row(*map(str, [*facts, statuses, *times]))
    if answer["traces"]:
        table.caption = (
            f"{answer['seconds_per_trace']:.1f} s per trace: {answer['training_share']:.1%} "
            f"training, {answer['evaluation_share']:.1%} scoring, {answer['prefix_share']:.1%} "
            f"encoding and frozen blocks, {answer['setup_share']:.1%} setting up, "
            f"{answer['overhead_share']:.1%} overhead of recording"
        )
    return table
