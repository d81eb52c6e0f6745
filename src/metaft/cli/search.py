"""`metaft search`: many runs on one dataset, the conventional rival of a prior."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metaft.cli.dataset import DatasetSource
from metaft.cli.options import (
    backbone_option,
    cache_limit_option,
    dataset_options,
    format_option,
    prior_option,
    recipe_out_option,
    settings_option,
    store_option,
    time_limit_option,
)
from metaft.cli.output import field_text, print_answer, print_notice, progress_bar
from metaft.errors import UserError

if TYPE_CHECKING:
    from metaft.recipes import Recipe
    from metaft.searching.proposals import Sampler
    from metaft.searching.search import SearchResult, Trial
    from metaft.tasks.task import Task

_SHOWN_TRIALS = 10


@click.command("search")
@dataset_options
@backbone_option
@click.option(
    "--sampler",
    type=click.Choice(["grid", "random", "tpe", "asha"]),
    default="tpe",
    show_default=True,
    help="What is tried next; asha stops runs early that are behind.",
)
@click.option(
    "--trials",
    type=click.IntRange(1, 10_000),
    default=16,
    show_default=True,
    help="Recipes to try at most.",
)
@click.option(
    "--space",
    "space_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML with what is varied: field: [values], or field: {low, high, log}.",
)
@click.option(
    "--warm-start",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    metavar="N",
    help="First try the N best recipes of the prior.",
)
@prior_option
@click.option("--rows", type=click.IntRange(min=8), help="Train on so many rows.")
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Trials made side by side, each in a one-thread process. With tpe and asha the number "
    "is part of the search: they learn from trials that are over.",
)
@settings_option("A field of all recipes that is not varied")
@store_option
@time_limit_option
@cache_limit_option
@recipe_out_option
@format_option
def command(
    *,
    source: DatasetSource,
    backbone: str | None,
    sampler: Sampler,
    trials: int,
    space_file: Path | None,
    warm_start: int,
    prior: str | None,
    rows: int | None,
    workers: int,
    settings: dict[str, str],
    store: str | None,
    time_limit_seconds: float | None,
    cache_limit_bytes: int | None,
    out: Path | None,
    output_format: str,
) -> None:
    """Try many recipes on one dataset and keep the best.

    Runs are kept in the trace store and never made twice: after a Ctrl-C the same command goes
    on where it was. Several may work on one store: each run is claimed first.
    """
    from metaft.backbones.load import default_backbone, load_backbone
    from metaft.recipes import PLAIN
    from metaft.searching.search import search
    from metaft.searching.space import SearchSpace, usual_space
    from metaft.traces.store import TraceStore, default_store_url

    if prior and not warm_start:
        raise UserError("--prior names what --warm-start asks, which is 0", "Set --warm-start")
    base = PLAIN.with_settings(settings)
    space = SearchSpace.load(space_file) if space_file else None
    task = source.load()
    start: Sequence[Recipe] = ()
    if warm_start:
        suggestion = source.ask_prior(
            task, backbone=backbone, prior=prior, rows=rows, top=warm_start
        )
        start, backbone = suggestion.recipes, suggestion.backbone
    network = load_backbone(backbone or default_backbone(task.modality), offline=source.offline)
    with progress_bar(f"searching on {task.name}", trials) as advance:
        result = search(
            task,
            network,
            TraceStore(store or default_store_url()),
            sampler=sampler,
            space=space or usual_space(task.modality, sampler),
            trials=trials,
            base=base,
            start=start,
            train_rows=rows,
            workers=workers,
            dataset=source.name,
            columns=source.columns,
            offline=source.offline,
            time_limit_seconds=time_limit_seconds,
            cache_limit_bytes=cache_limit_bytes,
            on_trial=lambda trial: advance(note=_note_on(trial, task)),
        )
    if out:
        result.best.recipe.save(out)
    if not result.is_complete:
        print_notice(f"{len(result.trials)} of {trials} trials were made.")
    answer = _answer(source.name, task, network.identity, sampler, result)
    print_answer(answer, output_format, _render)


def _note_on(trial: Trial, task: Task) -> str:
    return f"validation {task.metric} {trial.validation:.3f}"


def _answer(
    dataset: str, task: Task, backbone: str, sampler: str, result: SearchResult
) -> dict[str, Any]:
    rows = [_row_of(number, trial) for number, trial in enumerate(result.trials, 1)]
    return {
        "dataset": dataset,
        "backbone": backbone,
        "sampler": sampler,
        "metric": task.metric,
        "best": rows[result.trials.index(result.best)],
        "wall_seconds": sum(s for row in rows if math.isfinite(s := row["wall_seconds"])),
        "is_complete": result.is_complete,
        "trials": rows,
    }


def _row_of(number: int, trial: Trial) -> dict[str, Any]:
    fields = dataclasses.asdict(trial) | {"recipe": trial.recipe.to_mapping()}
    return {"trial": number, **fields, "is_stopped": trial.is_stopped}


def _render(answer: Mapping[str, Any]) -> Any:
    from rich.console import Group
    from rich.table import Table

    metric, best = answer["metric"], answer["best"]
    varied = _varied([row["recipe"] for row in answer["trials"]])
    table = Table(
        "trial",
        "recipe",  # One column: eight fields, each with one of its own, fit no terminal.
        f"validation {metric}",
        "best epoch",
        title=f"{answer['dataset']}: the best of {len(answer['trials'])} trials",
    )
    ranked = sorted(answer["trials"], key=_place_of)
    for row in ranked[:_SHOWN_TRIALS]:
        table.add_row(
            str(row["trial"]),
            ", ".join(f"{name} {field_text(row['recipe'][name])}" for name in varied) or "the same",
            f"{row['validation']:.4f}",
            f"{row['best_epoch']} {_how(row)}".rstrip(),
        )
    lines = [
        f"best       trial {best['trial']}, chosen on the validation rows",
        f"test       {metric} {best['test']:.4f}",
        f"cost       {answer['wall_seconds']:.0f} s of runs, {answer['sampler']} sampler",
    ]
    return Group(table, "\n".join(lines))


def _place_of(row: Mapping[str, Any]) -> tuple[bool, float]:
    """Return what trials are sorted by, the best one first, those without a score last."""
    validation = row["validation"]
    has_none = validation is None or math.isnan(validation)
    return has_none, 0.0 if has_none else -validation


def _varied(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the fields in which recipes differ."""
    return [name for name in recipes[0] if len({repr(recipe[name]) for recipe in recipes}) > 1]


def _how(row: Mapping[str, Any]) -> str:
    if row["status"] != "ok":
        return str(row["status"])
    return "stopped" if row["is_stopped"] else ""
