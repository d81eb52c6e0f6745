"""`metaft compare`: methods against each other over tasks and seeds, with paired tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metaft.cli.options import (
    backbone_option,
    cache_limit_option,
    format_option,
    offline_option,
    prior_option,
    store_option,
    tasks_option,
    time_limit_option,
    workers_option,
)
from metaft.cli.output import lay_out, print_answer, print_notice, progress_bar
from metaft.cli.recording import RecordingBar

if TYPE_CHECKING:
    from metaft.comparing.methods import Method
    from metaft.comparing.protocol import ComparisonPlan
    from metaft.comparing.report import Report


@click.command("compare")
@tasks_option
@click.option(
    "--methods",
    default="plain,learned",
    show_default=True,
    metavar="LIST",
    help="Two or more of plain, learned, learned-cost, learned+probe, learned-race, best-average, "
    "steady, half_frozen, prodigy, schedule-free, recipe:FILE, and searches of N trials: tpe-N, "
    "random-N.",
)
@click.option(
    "--reference",
    metavar="METHOD",
    help="Which of them the others are compared with; default: plain, or the first.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="Runs of each method on each task, with other seeds and other training rows.",
)
@click.option(
    "--rows",
    "train_rows",
    type=click.IntRange(min=8),
    default=512,
    show_default=True,
    help="Training rows of each run; a smaller task gives all it has.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder of the report: report.html, report.json, traces.parquet.",
)
@backbone_option
@prior_option
@workers_option
@store_option
@time_limit_option
@cache_limit_option
@offline_option
@format_option
def command(
    *,
    selector: str,
    methods: str,
    reference: str | None,
    seeds: int,
    train_rows: int,
    out: Path,
    backbone: str | None,
    prior: str | None,
    workers: int,
    store: str | None,
    time_limit_seconds: float | None,
    cache_limit_bytes: int | None,
    offline: bool,
    output_format: str,
) -> None:
    """Compare ways to choose a recipe, on the same rows and seeds.

    Runs are kept in the trace store: after a Ctrl-C, a crash or a time limit the same command
    goes on where it stopped.
    """
    from metaft.comparing.curves import gather_curves
    from metaft.comparing.methods import parse_methods
    from metaft.comparing.report import build_report, choose_reference
    from metaft.comparing.running import run_comparison, traces_of
    from metaft.comparing.writing import PAGE_FILE, check_out, write_report
    from metaft.tasks.select import select_tasks
    from metaft.traces.store import TraceStore, default_store_url

    chosen = parse_methods(methods, prior=prior, offline=offline)
    reference = choose_reference([method.name for method in chosen], reference)
    tasks = select_tasks(selector)
    check_out(out)
    trace_store = TraceStore(store or default_store_url())
    plan = _plan(
        tasks, chosen, seeds=seeds, train_rows=train_rows, backbone=backbone, offline=offline
    )
    with RecordingBar() as bar:
        plan, summary = run_comparison(
            plan,
            trace_store,
            workers=workers,
            time_limit_seconds=time_limit_seconds,
            cache_limit_bytes=cache_limit_bytes,
            offline=offline,
            on_planned=bar.begin,
            on_trace=bar.advance,
            on_wait=bar.wait,
            on_search=bar.search,
        )
    if summary.left:
        print_notice(f"{summary.left} runs are left; the same command goes on with them.")
    traces = traces_of(plan, trace_store)
    report = build_report(plan, traces, problems=summary.problems, reference=reference)
    write_report(out, report, curves=gather_curves(plan, traces), traces=list(traces.values()))
    for notice in report.notices:
        print_notice(notice)
    print_notice(f"The report is {out / PAGE_FILE}.")
    print_answer(report.to_mapping(), output_format, lambda _: _render(report))


def _plan(tasks: list[str], methods: list[Method], **settings: Any) -> ComparisonPlan:
    """Choose every recipe, which takes a forward pass per task."""
    from metaft.comparing.protocol import plan_comparison

    with progress_bar("Choosing recipes", len(tasks)) as advance:
        return plan_comparison(tasks, methods, **settings, on_task=lambda name: advance(note=name))


def _render(report: Report) -> Any:
    from rich.console import Group

    from metaft.comparing.tables import report_tables

    return Group(report.verdict, *(lay_out(table) for table in report_tables(report)))
