"""`metaft prior`: which priors there are, what is known of one, fitting and checking them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metaft.cli.options import format_option, offline_option, store_option
from metaft.cli.output import StepBars, lay_out, print_answer, print_notice, progress_bar
from metaft.errors import PriorError, RunFailedError

if TYPE_CHECKING:
    from rich.table import Table

    from metaft.prior.prior import Prior
    from metaft.traces.trace import Trace


@click.group()
def command() -> None:
    """List, show, fit or check priors."""


@command.command("list")
@format_option
def list_priors(output_format: str) -> None:
    """List the priors that ship with metaft, newest first."""
    from metaft.prior.prior import shipped_priors

    print_answer([_summary(prior) for prior in shipped_priors()], output_format, _list_table)


@command.command("show")
@click.argument("prior", metavar="NAME|DIR")
@format_option
def show_prior(prior: str, output_format: str) -> None:
    """Show what a prior was learned from, and what it is worth."""
    from metaft.prior.prior import Prior

    opened = Prior.load(prior)
    answer = {"folder": opened.folder, **opened.manifest.values}
    print_answer(answer, output_format, _prior_table)


@command.command("fit")
@store_option
@click.option(
    "--traces",
    "traces_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Fit to a Parquet file that metaft traces export wrote, instead of a store.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the prior; its name becomes the prior's.",
)
@click.option("--tasks", "selector", metavar="SELECTOR", help="Only traces of these tasks.")
@click.option(
    "--backbone",
    "backbones",
    multiple=True,
    metavar="ID",
    help="Only traces of this backbone; can be given several times.",
)
@click.option(
    "--targets",
    default="",
    metavar="NAMES",
    help="Datasets whose features are shipped, so that they can be asked for without their "
    "rows; separated by commas.",
)
@click.option("--version", default="0.1.0", show_default=True, help="Version of the prior.")
@click.option(
    "--probe",
    is_flag=True,
    help="Take a few trial steps on every task, too, so that the prior can be asked with --probe.",
)
@click.option(
    "--screening",
    "screening_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Traces of metaft study screening, likewise exported: what they show to help, suggestions "
    "take over. Default: those that the folder holds.",
)
@offline_option
@format_option
def fit(
    *,
    store: str | None,
    traces_file: Path | None,
    out: Path,
    selector: str | None,
    backbones: tuple[str, ...],
    targets: str,
    version: str,
    probe: bool,
    screening_file: Path | None,
    offline: bool,
    output_format: str,
) -> None:
    """Fit a prior to traces and validate it.

    The features of every task are extracted from its rows (or taken from the cache), then
    every task is left out in turn to find out what the prior is worth.
    """
    from metaft.prior.fit import fit_prior
    from metaft.traces.outside import is_outside
    from metaft.traces.table import read_traces

    traces = _select(_read_traces(store, traces_file), selector, backbones)
    names = [name.strip() for name in targets.split(",") if name.strip()]
    with StepBars() as bars:
        prior = fit_prior(
            traces,
            out,
            targets=names,
            version=version,
            probe=probe,
            screening=None if screening_file is None else read_traces(screening_file),
            offline=offline,
            on_step=bars.show,
        )
    for block in prior.manifest["left_out"]:
        print_notice(
            f"Left out {block['task']} with {block['train_rows']} rows: recipes are missing."
        )
    outside = [t["name"] for t in prior.manifest["tasks"] if is_outside(t["fingerprint"])]
    if outside:
        print_notice(
            f"metaft has not seen the rows of {_joined(outside)}: most features are unknown, and "
            "without scores on halves of the test rows regrets come out too large."
        )
    answer = {"folder": prior.folder, **prior.manifest.values}
    print_answer(answer, output_format, _prior_table)


@command.command("check")
@click.argument("prior", metavar="NAME|DIR")
@format_option
def check(prior: str, output_format: str) -> None:
    """Repeat a prior's validation from its files, and print what it finds.

    The prior and its rivals choose for every task left out; tests, slices, the negative control
    and the goals follow. Exit status 1 if a stored figure does not hold.
    """
    from metaft.prior.check import check_prior
    from metaft.prior.prior import Prior
    from metaft.prior.probing import count_fits_of_check
    from metaft.prior.table import tabulate

    opened = Prior.load(prior)
    manifest = opened.manifest
    table = tabulate(opened.read_traces())
    fits = count_fits_of_check(table, manifest.relatives, is_probed=manifest.is_probed)
    with progress_bar("leaving tasks out", fits) as advance:
        checked = check_prior(opened, on_fit=advance)
    found = checked.discrepancies
    answer = {
        "prior": manifest.label,
        "holds": not found,
        "discrepancies": [
            {"figure": item.figure, "stored": item.stored, "found": item.found} for item in found
        ],
        "validation": checked.validation,
    }
    print_answer(answer, output_format, _check_table)
    if found:
        raise RunFailedError(
            f"{len(found)} stored figures of {opened.name} do not hold, the first is "
            f"{found[0].figure}: stored {found[0].stored}, found {found[0].found}"
        )


def _read_traces(store: str | None, traces_file: Path | None) -> list[Trace]:
    from metaft.traces.store import TraceStore, default_store_url
    from metaft.traces.table import read_traces

    if store is not None and traces_file is not None:
        raise PriorError("--store and --traces both say where the traces are", "Give one of them")
    if traces_file is not None:
        return read_traces(traces_file)
    return TraceStore(store or default_store_url(), must_exist=True).traces()


def _select(
    traces: Iterable[Trace], selector: str | None, backbones: tuple[str, ...]
) -> list[Trace]:
    """Keep the traces of some tasks and backbones."""
    from metaft.backbones.load import ALIASES
    from metaft.tasks.select import select_tasks

    names = None if selector is None else set(select_tasks(selector))
    wanted = {ALIASES.get(backbone, backbone) for backbone in backbones}
    kept = [
        trace
        for trace in traces
        if (names is None or trace.task in names) and (not wanted or trace.backbone in wanted)
    ]
    if not kept:
        raise PriorError(
            "there are no traces to fit to" + (" of those tasks and backbones" if wanted else ""),
            "Record some with metaft meta-train --stages traces",
        )
    return kept


def _summary(prior: Prior) -> dict[str, Any]:
    manifest = prior.manifest
    return {
        **manifest.label,
        "modality": manifest["modality"],
        "backbones": list(manifest.backbones),
        "train_rows": manifest["train_rows"],
        "weight": manifest["calibration"]["weight"],
        "created_at": manifest["created_at"],
        "folder": prior.folder,
    }


def _list_table(answer: list[Mapping[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("name", "version", "modality", "tasks", "traces", "rows", "backbones", box=None)
    for row in answer:
        table.add_row(
            row["name"],
            row["version"],
            row["modality"],
            str(row["tasks"]),
            f"{row['traces']:,}",
            _joined(row["train_rows"]),
            _joined(row["backbones"]),
        )
    return table


def _prior_table(answer: Mapping[str, Any]) -> Any:
    """Lay out what a prior was learned from and what it is worth."""
    from rich.console import Group
    from rich.table import Table

    from metaft.prior.worth import methods_table, screening_note, screening_table

    table = Table("", "", show_header=False, box=None)
    table.add_row("prior", f"{answer['name']} {answer['version']}")
    table.add_row("folder", str(answer["folder"]))
    table.add_row("backbones", _joined(backbone["identity"] for backbone in answer["backbones"]))
    table.add_row("training rows", _joined(answer["train_rows"]))
    table.add_row("traces", f"{answer['traces']:,}")
    table.add_row("tasks", _joined(task["name"] for task in answer["tasks"]))
    table.add_row("features of", _joined(answer["targets"]) or "no other dataset")
    table.add_row("weight of the model", f"{answer['calibration']['weight']:.0%}")
    shown = [table, "", lay_out(methods_table(answer["validation"]), is_tight=True)]
    screening = answer.get("screening")
    if screening:
        tested = lay_out(screening_table(screening), is_tight=True)
        shown += ["", tested, "", screening_note(screening)]
    return Group(*shown)


def _check_table(answer: Mapping[str, Any]) -> Any:
    from rich.console import Group

    verdict = "every stored figure holds"
    if not answer["holds"]:
        lines = [
            f"{item['figure']}: stored {item['stored']}, found {item['found']}"
            for item in answer["discrepancies"]
        ]
        verdict = "\n".join(["stored figures that do not hold:", *lines])
    return Group(*_worth(answer["validation"]), verdict)


def _worth(validation: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the tables and notes of a validation, each with an empty line behind it."""
    from metaft.prior.worth import worth_notes, worth_tables

    for table in worth_tables(validation):
        yield from (lay_out(table, is_tight=True), "")
    for note in worth_notes(validation):
        yield from (note, "")


def _joined(values: Iterable[Any]) -> str:
    return ", ".join(f"{value:,}" if isinstance(value, int) else str(value) for value in values)
