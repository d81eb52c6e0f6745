"""`metaft tasks`: which tasks there are, what is known of one, and whether the cards hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from metaft.cli.options import format_option, offline_option
from metaft.cli.output import print_answer, progress_bar
from metaft.errors import RunFailedError, TaskError

if TYPE_CHECKING:
    from rich.table import Table

    from metaft.tasks.card import TaskCard


@click.group()
def command() -> None:
    """List the tasks, show what is known of one, or check the cards."""


@command.command("list")
@click.option("--kind", metavar="KIND", help="Only this kind, for example classification.")
@click.option("--modality", type=click.Choice(["text", "image"]), help="Only this modality.")
@click.option(
    "--source",
    type=click.Choice(["bundled", "mirror", "hub"]),
    help="Only what can be read from there.",
)
@format_option
def list_tasks(
    kind: str | None, modality: str | None, source: str | None, output_format: str
) -> None:
    """List the tasks with a card, and where each can be read.

    The mirror is the folder that METAFT_DATA names; the hub is not asked.
    """
    from metaft.tasks.card import load_cards

    cards = load_cards().values()
    kinds = sorted({card.kind for card in cards})
    if kind is not None and kind not in kinds:
        raise TaskError(f"--kind is {kind!r}; allowed are {', '.join(kinds)}", "Choose one of them")
    rows = [_summary(card) for card in cards if kind in (None, card.kind)]
    chosen = [
        row
        for row in rows
        if modality in (None, row["modality"]) and (source is None or source in row["sources"])
    ]
    print_answer(chosen, output_format, _list_table)


@command.command("show")
@click.argument("name")
@format_option
def show_task(name: str, output_format: str) -> None:
    """Show the card of the task NAME."""
    from metaft.tasks.card import relatives_of
    from metaft.tasks.check import sources_of
    from metaft.tasks.select import TARGETS, card_named, forbidden_in_shipped_priors

    card = card_named(name)
    answer = {
        **card.to_mapping(),
        "relatives": sorted(relatives_of(name)),
        "sources": list(sources_of(card)),
        "target": name in TARGETS,
        "in_shipped_priors": not forbidden_in_shipped_priors(name),
    }
    print_answer(answer, output_format, _card_table)


@command.command("check")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@offline_option
@format_option
def check_tasks(names: tuple[str, ...], offline: bool, output_format: str) -> None:
    """Check every card, and its data where they are reachable.

    Without NAMEs, all cards are checked. What is on disk is loaded as for a run; a dataset
    that is only on the hub is asked for there. Exit status 1 if the data of a card is not as
    the card says.
    """
    import dataclasses

    from metaft.tasks.card import load_cards
    from metaft.tasks.check import check_cards
    from metaft.tasks.select import card_named

    cards = [card_named(name) for name in names] or list(load_cards().values())
    with progress_bar("checking", total=len(cards)) as advance:
        reports = check_cards(cards, offline=offline, on_report=lambda r: advance(note=r.name))
    print_answer([dataclasses.asdict(report) for report in reports], output_format, _check_table)
    wrong = [report.name for report in reports if report.status == "problem"]
    if wrong:
        raise RunFailedError(f"{len(wrong)} of {len(reports)} tasks: {', '.join(wrong)}")


def _summary(card: TaskCard) -> dict[str, Any]:
    from metaft.tasks.check import sources_of
    from metaft.tasks.select import TARGETS

    return {
        "name": card.name,
        "kind": card.kind,
        "modality": card.modality,
        "classes": len(card.label_names),
        "metric": card.metric,
        "language": card.language,
        "domain": card.domain,
        "licence": card.licence,
        "baseline_score": card.baseline_score,
        "sources": list(sources_of(card)),
        "target": card.name in TARGETS,
    }


def _list_table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, caption=f"{len(rows)} tasks", caption_justify="left")
    for heading in ("task", "kind", "classes", "metric", "domain", "read from"):
        table.add_column(heading, justify="right" if heading == "classes" else "left")
    for row in rows:
        classes = str(row["classes"] or "")
        where = " ".join(row["sources"]) or "nowhere"
        table.add_row(row["name"], row["kind"], classes, row["metric"], row["domain"], where)
    return table


def _card_table(answer: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in answer.items():
        if value not in (None, "", [], {}):
            table.add_row(name, _text(value))
    return table


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _check_table(reports: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, caption=_tally(reports), caption_justify="left")
    for heading in ("task", "status", "from", "train", "valid.", "test", "classes", "largest"):
        table.add_column(heading, justify="left" if heading in ("task", "from") else "right")
    table.add_column("found", overflow="fold")
    for report in reports:
        rows = [str(report["rows"].get(split, "")) for split in ("train", "validation", "test")]
        share = "" if report["majority_share"] is None else f"{report['majority_share']:.0%}"
        found = "; ".join([*report["notices"], report["problem"]]).strip("; ")
        table.add_row(
            report["name"], report["status"], report["source"], *rows,
            str(report["classes"] or ""), share, found,
        )  # fmt: skip
    return table


def _tally(reports: list[dict[str, Any]]) -> str:
    counts = {
        status: sum(report["status"] == status for report in reports)
        for status in ("ok", "unreachable", "problem")
    }
    return ", ".join(f"{count} {status}" for status, count in counts.items())
