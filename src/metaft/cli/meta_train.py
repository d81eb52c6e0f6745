"""`metaft meta-train`: record traces and fit a prior to them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metaft.cli.options import (
    backbone_option,
    format_option,
    offline_option,
    store_option,
    time_limit_option,
)
from metaft.cli.output import print_answer, print_notice, progress_bar
from metaft.errors import TaskError, UserError

if TYPE_CHECKING:
    from metaft.traces.recorder import Progress, RecordingSummary
    from metaft.traces.trace import Trace

STAGES = ("traces", "init", "prior")


def _parse_stages(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    names = [name.strip() for name in value.split(",") if name.strip()]
    unknown = [name for name in names if name not in STAGES]
    if unknown or not names:
        raise UserError(
            f"stages is {value!r}; allowed are {', '.join(STAGES)}, separated by commas",
            "Correct --stages",
        )
    return tuple(stage for stage in STAGES if stage in names)


def _parse_sizes(_: click.Context, __: click.Parameter, value: str) -> tuple[int, ...]:
    words = [word.strip() for word in value.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UserError(
            f"sizes is {value!r}; allowed are whole numbers above 0, separated by commas",
            "Write for example --sizes 128,512",
        )
    return tuple(dict.fromkeys(int(word) for word in words))


@click.command("meta-train")
@click.option(
    "--tasks",
    "selector",
    required=True,
    metavar="SELECTOR",
    help="Tasks to learn from: names, globs, bundled, mirror, all, kind:KIND; -NAME leaves out.",
)
@backbone_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder of the prior.",
)
@click.option(
    "--stages",
    default="traces",
    show_default=True,
    metavar="LIST",
    callback=_parse_stages,
    help="What to do, of traces, init and prior.",
)
@click.option(
    "--recipes",
    "recipe_count",
    type=click.IntRange(1, 1024),
    default=12,
    show_default=True,
    help="Recipes of the shared design; more add to fewer, so nothing is recorded twice.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1, 1000),
    default=6,
    show_default=True,
    help="Budget of every run; its curve answers for every smaller budget.",
)
@click.option(
    "--sizes",
    default="512",
    show_default=True,
    metavar="LIST",
    callback=_parse_sizes,
    help="Training rows; a smaller task is recorded once, with what it has.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Runs of each recipe, with other seeds and other training rows.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    default=lambda: os.cpu_count() or 1,
    show_default="one per core",
    help="One-thread processes that record.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where the workers live: on this machine, or in a Ray cluster.",
)
@store_option
@time_limit_option
@click.option("--fresh", is_flag=True, help="Record runs anew that are stored already.")
@offline_option
@format_option
def command(
    *,
    selector: str,
    backbone: str | None,
    out: Path,
    stages: tuple[str, ...],
    recipe_count: int,
    epochs: int,
    sizes: tuple[int, ...],
    seeds: int,
    workers: int,
    engine: Any,
    store: str | None,
    time_limit_seconds: float | None,
    fresh: bool,
    offline: bool,
    output_format: str,
) -> None:
    """Record fine-tuning runs on many tasks and learn a prior from them.

    A run that is in the store is never made again: after a Ctrl-C, a crash or a time limit
    the same command goes on where it stopped.
    """
    from metaft.backbones.load import DEFAULT_TEXT_BACKBONE
    from metaft.recipes import design
    from metaft.tasks.select import select_tasks
    from metaft.traces.plan import plan_runs
    from metaft.traces.recorder import record
    from metaft.traces.store import TraceStore, default_store_url

    trace_store = TraceStore(store or default_store_url())
    identity = backbone or DEFAULT_TEXT_BACKBONE
    recipes = design(recipe_count, epochs)
    runs = plan_runs(select_tasks(selector), identity, recipes, sizes=sizes, seeds=seeds)
    with _RecordingBar() as bar:
        summary = record(
            runs,
            trace_store,
            workers=workers,
            engine=engine,
            time_limit_seconds=time_limit_seconds,
            offline=offline,
            fresh=fresh,
            on_planned=bar.begin,
            on_trace=bar.advance,
        )
    _report_problems(summary)
    answer = {"store": trace_store.url, "traces": dataclasses.asdict(summary)}
    print_answer(answer, output_format, _render)


class _RecordingBar:
    """Shows the look at the tasks, then the runs; after a Ctrl-C says how to go on."""

    def __init__(self) -> None:
        self._shown = contextlib.ExitStack()
        self._progress: Progress | None = None

    def __enter__(self) -> _RecordingBar:
        self._shown.enter_context(progress_bar("Looking at the tasks", None))
        return self

    def begin(self, progress: Progress) -> None:
        """Show the bar of the runs."""
        self._shown.close()
        self._progress = progress
        self._advance = self._shown.enter_context(progress_bar("Recording", progress.total))

    def advance(self, trace: Trace, progress: Progress) -> None:
        """Show that a run has ended."""
        self._progress = progress
        self._advance(1, f"{trace.task} ({trace.status})")

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        self._shown.close()
        if isinstance(error, KeyboardInterrupt) and self._progress:
            print_notice(
                f"{self._progress.done} of {self._progress.total} runs are recorded and kept; "
                "the same command goes on with the rest."
            )


def _report_problems(summary: RecordingSummary) -> None:
    """Name the tasks that could not be recorded; without any that could, give up.

    Raises:
        TaskError: If no run was recorded now or before.
    """
    problems = [f"{task}: {problem}" for task, problem in summary.problems.items()]
    if problems and not summary.recorded + summary.skipped + summary.left:
        raise TaskError(
            f"none of the tasks can be recorded. {problems[0].rstrip('.')}", "Give other --tasks"
        )
    for problem in problems:
        print_notice(f"Left out {problem}")
    if summary.left:
        print_notice(f"{summary.left} runs are left; the same command goes on with them.")


def _render(answer: dict[str, Any]) -> Any:
    """Lay the answer out as a table of facts."""
    from rich.table import Table

    table = Table("", "", show_header=False, box=None)
    table.add_row("store", answer["store"])
    traces = answer["traces"]
    statuses = ", ".join(f"{count} {status}" for status, count in traces["statuses"].items())
    table.add_row("recorded", f"{traces['recorded']}" + (f" ({statuses})" if statuses else ""))
    table.add_row("stored before", str(traces["skipped"]))
    table.add_row("left", str(traces["left"]))
    if traces["recorded"]:
        table.add_row("seconds per trace", f"{traces['seconds_per_trace']:.1f}")
    table.add_row("seconds in all", f"{traces['wall_seconds']:.0f}")
    return table
