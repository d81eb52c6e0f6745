"""`metaft study`: repeat a study from its card, and write what it shows as a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metaft.cli.options import (
    cache_limit_option,
    format_option,
    offline_option,
    prior_option,
    store_option,
    time_limit_option,
    workers_option,
)
from metaft.cli.output import lay_out, print_answer, print_notice, progress_bar
from metaft.cli.recording import RecordingBar
from metaft.errors import StudyError

if TYPE_CHECKING:
    from metaft.studying.card import Size, StudyCard
    from metaft.studying.combining import LeftOut
    from metaft.studying.forecast import Forecast
    from metaft.studying.plan import StudyPlan
    from metaft.studying.report import StudyReport
    from metaft.traces.store import TraceStore

_MOST_NAMED = 4
"""Tasks that a line on what was left out names."""


@click.command("study")
@click.argument("name", required=False, metavar="[NAME|FILE.yaml]")
@click.option("--list", "is_list", is_flag=True, help="List the studies that ship with metaft.")
@click.option("--small", is_flag=True, help="The small variant: minutes on two cores, not days.")
@click.option("--dry-run", is_flag=True, help="Say how large the grid is, and run nothing.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the report: report.html, results.json, runs.csv; default: studies/NAME, with "
    "-small at its end for the small variant.",
)
@click.option(
    "--inits",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of initialisations, ALGORITHM/init.safetensors each, for studies that compare "
    "them.",
)
@prior_option
@workers_option
@store_option
@time_limit_option
@cache_limit_option
@offline_option
@format_option
def command(
    *,
    name: str | None,
    is_list: bool,
    small: bool,
    dry_run: bool,
    out: Path | None,
    inits: Path | None,
    prior: str | None,
    workers: int,
    store: str | None,
    time_limit_seconds: float | None,
    cache_limit_bytes: int | None,
    offline: bool,
    output_format: str,
) -> None:
    """Repeat a study from its card, and write its answer as a page.

    Says how many runs there are and how long they will take before the first one starts. Runs
    are kept in the trace store: after a Ctrl-C, a crash or a time limit the same command goes on
    where it stopped.
    """
    from metaft.studying.card import find_card, shipped_studies

    if is_list:
        print_answer(_listed(), output_format, _list_table)
        return
    if name is None:
        raise StudyError(
            f"no study is named; the studies are {', '.join(shipped_studies())}",
            "Name one, or see metaft study --list",
        )
    card = find_card(name)

    # These take seconds to import, so they come behind what fails at once.
    from metaft.comparing.writing import check_out
    from metaft.studying.forecast import forecast
    from metaft.traces.store import TraceStore, default_store_url

    size: Size = "small" if small else "full"
    _check_inits(inits)
    folder = out or Path("studies") / (f"{card.name}-small" if small else card.name)
    trace_store = TraceStore(store or default_store_url())
    plan = _plan(card, size, trace_store, prior=prior, inits=inits, offline=offline)
    if not dry_run:
        check_out(folder)
    expected = forecast(plan, trace_store, workers)
    print_notice(_said(plan, expected, workers))
    if dry_run:
        answer = _dry_answer(plan, expected, workers)
        print_answer(answer, output_format, _dry_table)
        return
    report = _run(
        plan,
        trace_store,
        folder,
        workers=workers,
        time_limit_seconds=time_limit_seconds,
        cache_limit_bytes=cache_limit_bytes,
        offline=offline,
    )
    print_answer(report.to_mapping(), output_format, lambda _: _render(report))


def _check_inits(inits: Path | None) -> None:
    if inits is not None and not inits.is_dir():
        raise StudyError(
            f"--inits is {str(inits)!r}, which is no folder",
            "Name a folder that holds ALGORITHM/init.safetensors, or leave it out",
        )


def _plan(card: StudyCard, size: Size, store: TraceStore, **settings: Any) -> StudyPlan:
    from metaft.studying.plan import plan_study, tasks_of

    names = tasks_of(card.variant(size))
    with progress_bar("Looking at the tasks", len(names)) as advance:
        return plan_study(card, size, store, **settings, on_task=lambda task: advance(note=task))


def _run(plan: StudyPlan, store: TraceStore, folder: Path, **settings: Any) -> StudyReport:
    """Make the runs, and write the report of what is there."""
    from metaft.comparing.limits import machines_of
    from metaft.studying.report import build_study_report
    from metaft.studying.results import gather_runs
    from metaft.studying.running import run_study
    from metaft.studying.writing import PAGE_FILE, write_study

    with RecordingBar() as bar:
        done = run_study(
            plan,
            store,
            **settings,
            on_planned=bar.begin,
            on_trace=bar.advance,
            on_wait=bar.wait,
            on_search=bar.search,
        )
    machines: set[str] = set()

    def read(keys: Any) -> Any:
        traces = store.traces(set(keys))
        machines.update(machines_of({trace.trace_id: trace for trace in traces}))
        return traces

    runs = gather_runs(plan, done.searches, read)
    if done.left:
        print_notice(f"{done.left} runs are left; the same command goes on with them.")
    report, gathered = build_study_report(
        plan, runs, machines=sorted(machines), problems=done.problems
    )
    write_study(folder, plan, report, gathered, runs)
    for notice in report.notices:
        print_notice(notice)
    print_notice(f"The report is {folder / PAGE_FILE}.")
    return report


def _said(plan: StudyPlan, expected: Forecast, workers: int) -> str:
    """Say how large the grid is, and how long what is left of it will take."""
    tasks = len({unit.task for unit in plan.units})
    said = (
        f"{plan.card.name} ({plan.size}): {expected.runs:,} runs on {tasks} tasks, "
        f"{expected.stored:,} of them stored."
    )
    missing = sorted({one.task for one in plan.left_out if not one.what})
    if missing:
        said += f" Left out: {', '.join(missing)}; the report says why."
    if not expected.left:
        return f"{said} Nothing is left to run."
    return f"{said} {_time_said(expected, workers)}"


def _time_said(expected: Forecast, workers: int) -> str:
    """Say how long the runs that are left will take, and how that is known."""
    known = expected.left - expected.unknown
    if not known:
        return (
            f"How long {_counted(expected.left)} will take is not known: no run like them is "
            "stored, and no shipped prior knows the backbone."
        )
    sources = [
        f"{count:,} from {source}"
        for count, source in (
            (expected.from_traces, "stored runs that are alike"),
            (
                expected.from_prior,
                "the prior's costs, which are those of the machine it was made on",
            ),
        )
        if count
    ]
    of_these = "these" if not expected.unknown else f"{known:,} of these"
    said = (
        f"{_counted(expected.left)} are left; {of_these} will take about "
        f"{_duration(expected.seconds)} on {workers} worker{'s' * (workers != 1)} "
        f"({'; '.join(sources)})."
    )
    if expected.unknown:
        said += f" Of the other {expected.unknown:,} the time is not known."
    return said


def _counted(runs: int) -> str:
    return f"{runs:,} run{'s' * (runs != 1)}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def _listed() -> list[dict[str, Any]]:
    from metaft.studying.card import find_card, shipped_studies

    cards = [find_card(name) for name in shipped_studies()]
    return [{"name": card.name, "title": card.title, "question": card.question} for card in cards]


def _list_table(cards: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table("study", "question")
    for card in cards:
        table.add_row(card["name"], card["question"])
    return table


def _dry_answer(plan: StudyPlan, expected: Forecast, workers: int) -> dict[str, Any]:
    return {
        "study": plan.card.name,
        "size": plan.size,
        "tasks": sorted({unit.task for unit in plan.units}),
        "backbones": sorted({unit.backbone for unit in plan.units}),
        "levels": plan.variant.levels,
        "seeds": plan.variant.seeds,
        "rows": plan.variant.rows,
        **dataclasses.asdict(expected),
        "left": expected.left,
        "workers": workers,
        "left_out": [dataclasses.asdict(one) for one in plan.left_out],
    }


def _dry_table(answer: Mapping[str, Any]) -> Any:
    from rich.console import Group
    from rich.table import Table

    from metaft.studying.combining import LeftOut

    table = Table("factor", "levels, the reference first", title=f"{answer['study']}")
    for factor, levels in answer["levels"].items():
        table.add_row(factor, ", ".join(levels))
    return Group(
        table,
        f"tasks      {', '.join(answer['tasks'])}",
        *_left_out([LeftOut(**one) for one in answer["left_out"]]),
    )


def _left_out(left_out: Sequence[LeftOut]) -> list[Any]:
    """Lay out what was left out, with few of the names where they are many; the page has all."""
    from metaft.studying.tables import left_out_table

    table = left_out_table(left_out, most_named=_MOST_NAMED)
    return [lay_out(table, is_prose=True)] if table else []


def _render(report: StudyReport) -> Any:
    from rich.console import Group

    from metaft.studying.tables import level_table

    factors = [factor for factor in report.factors if factor.tasks]
    return Group(
        report.answer,
        *(lay_out(level_table(factor), is_tight=True) for factor in factors),
        *_left_out(report.left_out),
    )
