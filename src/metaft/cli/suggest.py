"""`metaft suggest`: a recipe for a dataset, before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metaft.cli.dataset import DatasetSource
from metaft.cli.options import (
    backbone_option,
    dataset_options,
    duration_callback,
    format_option,
    prior_option,
    probe_option,
    recipe_out_option,
    size_callback,
)
from metaft.cli.output import field_text, print_answer, print_notice, progress_bar

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_SHOWN_FIELDS = (
    "learning_rate",
    "frozen_fraction",
    "epochs",
    "batch_size",
    "schedule",
    "warmup_fraction",
    "weight_decay",
    "head_init",
)
_SHOWN_IF_CHANGED = ("freezing", "augmentation", "label_smoothing")


@click.command("suggest")
@dataset_options
@backbone_option
@prior_option
@click.option(
    "--goal",
    type=click.Choice(["score", "cost"]),
    default="score",
    show_default=True,
    help="The best score, or the cheapest recipe expected to be no worse than plain.",
)
@click.option("--rows", type=click.IntRange(min=8), help="Training rows of the run.")
@click.option(
    "--max-time",
    "max_time_seconds",
    metavar="DURATION",
    callback=duration_callback,
    help="Longest time that the run may be expected to take, for example 5m.",
)
@click.option(
    "--max-memory",
    "max_memory_mib",
    metavar="SIZE",
    callback=size_callback,
    help="Most memory that the run may be expected to take, for example 4GiB.",
)
@click.option(
    "--top",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Recipes to give: the best one and its alternatives.",
)
@recipe_out_option
@probe_option
@format_option
def command(
    *,
    source: DatasetSource,
    backbone: str | None,
    prior: str | None,
    goal: Any,
    rows: int | None,
    max_time_seconds: float | None,
    max_memory_mib: float | None,
    top: int,
    out: Path | None,
    probe: bool,
    output_format: str,
) -> None:
    """Suggest a recipe, and predict its score and its cost.

    Nothing is trained, but for the trial steps of --probe. Where the prior ships the dataset's
    features, its rows are not read either; else the backbone passes once over at most 1,000
    training rows.
    """
    from metaft.prior.ask import suggest_for

    doing = f"taking trial steps on {source.name}" if probe else f"looking at {source.name}"
    with progress_bar(doing, None):
        suggestion = suggest_for(
            source.name,
            backbone=backbone,
            prior=prior,
            rows=rows,
            goal=goal,
            max_time_seconds=max_time_seconds,
            max_memory_mib=max_memory_mib,
            top=top,
            columns=source.columns,
            offline=source.offline,
            probe=probe,
        )
    if out is not None:
        suggestion.recipe.save(out)
        print_notice(f"wrote {out}")
    print_answer(
        suggestion.to_mapping(),
        output_format,
        lambda answer: _render(answer, suggestion.train_rows),
    )


def _render(answer: Mapping[str, Any], train_rows: int) -> RenderableType:
    """Lay a suggestion out for a person."""
    from rich.console import Group
    from rich.markup import escape
    from rich.panel import Panel

    parts: list[RenderableType] = [_facts(answer)]
    if answer["alternatives"]:
        parts += ["", _alternatives(answer)]
    names = escape(answer["dataset"]), escape(answer["backbone"])
    title = f"[bold]{names[0]}[/], {train_rows:,} training rows, {names[1]}"
    prior = answer["prior"]
    learned_from = f"{prior['name']} {prior['version']}: {prior['traces']:,} traces, "
    learned_from += f"{prior['tasks']} tasks"
    return Panel(Group(*parts), title=title, subtitle=learned_from, expand=False, padding=(1, 2))


def _facts(answer: Mapping[str, Any]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    predicted = answer["predicted"]
    table = Table("", "", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.columns[0].style = "dim"
    table.add_row("recipe", _recipe_in_words(answer["recipe"]))
    table.add_row("expected", _score_in_words(predicted))
    table.add_row("cost", _cost_in_words(predicted))
    table.add_row("risk", f"{predicted['failure_probability']:.1%} that the run fails")
    table.add_row("nearest tasks", _nearest_in_words(answer))
    table.add_row("start from", _start_in_words(answer["start"]))
    if answer["screening"] and answer["screening"]["applied"]:
        table.add_row("screened", escape(answer["screening"]["said"]))
    if answer["fresh_runs"]:
        table.add_row("fresh runs", escape(answer["fresh_runs"]["said"]))
    if answer["left_out"]:
        table.add_row("left out", escape(answer["left_out"]["said"]))
    if answer["probe"]:
        table.add_row("probe", probe_in_words(answer["probe"]))
    if answer["fallback"]:
        table.add_row("fallback", f"[yellow]{escape(answer['fallback'])}[/]")
    return table


def _recipe_in_words(recipe: Mapping[str, Any]) -> str:
    from metaft.recipes import PLAIN

    plain = PLAIN.to_mapping()
    lines = []
    changed = [name for name in _SHOWN_IF_CHANGED if recipe[name] != plain[name]]
    for name in (*_SHOWN_FIELDS, *changed):
        usual = (
            "" if recipe[name] == plain[name] else f"  [dim](plain: {field_text(plain[name])})[/]"
        )
        lines.append(f"[bold]{field_text(recipe[name])}[/] {name}{usual}")
    return "\n".join(lines)


def _score_in_words(predicted: Mapping[str, Any]) -> str:
    return (
        f"[bold]{predicted['score']:.3f}[/] {predicted['metric']} on test rows "
        f"(90 %: {predicted['low']:.3f} to {predicted['high']:.3f})"
    )


def _cost_in_words(predicted: Mapping[str, Any]) -> str:
    return (
        f"{duration_in_words(predicted['train_seconds'])} on one thread of the machine that "
        f"recorded the traces, {predicted['peak_memory_mib']:,.0f} MiB"
    )


def _nearest_in_words(answer: Mapping[str, Any]) -> str:
    nearest = ", ".join(
        f"{near['task']} ({near['distance']:.1f})" for near in answer["nearest_tasks"]
    )
    seen = "  [yellow]seen in training[/]" if answer["seen_in_training"] else ""
    return f"{nearest}{seen}"


def _start_in_words(start: Mapping[str, Any]) -> str:
    from rich.markup import escape

    if start["init"] == "meta":
        return f"the prior's weights, --init meta ({escape(start['why'])})"
    return f"the pretrained weights ({escape(start['why'])})"


def duration_in_words(seconds: float) -> str:
    """Return `45 s`, `12 min` or `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def probe_in_words(probe: Mapping[str, Any]) -> str:
    """Say that trial steps were taken, and what they cost."""
    if probe["seconds"] < 0.05:
        return "the trial steps were known already"
    return f"trial steps, {probe['seconds']:.1f} s"


def _alternatives(answer: Mapping[str, Any]) -> Table:
    from rich.table import Table

    names = ("learning_rate", "frozen_fraction", "epochs", "batch_size", "head_init")
    table = Table(*names, "score", "time", title="alternatives", title_justify="left", box=None)
    for other in answer["alternatives"]:
        recipe, predicted = other["recipe"], other["predicted"]
        table.add_row(
            *(field_text(recipe[name]) for name in names),
            f"{predicted['score']:.3f}",
            duration_in_words(predicted["train_seconds"]),
        )
    return table
