"""`metaft finetune`: one run with a suggested, plain or given recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metaft.cli.dataset import DatasetSource
from metaft.cli.finetune_answer import answer_of, render_answer
from metaft.cli.options import (
    backbone_option,
    cache_limit_option,
    dataset_options,
    format_option,
    prior_option,
    probe_option,
    settings_option,
)
from metaft.cli.output import print_answer, print_notice, progress_bar
from metaft.cli.racing import race_option, run_race
from metaft.errors import RunFailedError, UserError

if TYPE_CHECKING:
    from metaft.backbones.backbone import Backbone
    from metaft.finetuning.loop import FineTuned
    from metaft.prior.choice import Goal
    from metaft.prior.suggestion import Suggestion
    from metaft.recipes import Recipe
    from metaft.tasks.task import Task
    from metaft.traces.trace import Trace


@click.command(name="finetune")
@dataset_options
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the Run: model, recipe.yaml, trace.json, README.md.",
)
@backbone_option
@click.option("--plain", is_flag=True, help="Use the plain recipe: 5e-5, 3 epochs, all thawed.")
@click.option(
    "--recipe",
    "recipe_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Use this recipe: a YAML file, or the folder of a Run.",
)
@click.option(
    "--goal",
    type=click.Choice(["score", "cost"]),
    help="What the suggested recipe seeks: the best score (default), or the lowest cost.",
)
@prior_option
@probe_option
@race_option
@click.option("--rows", type=click.IntRange(min=8), help="Train on so many rows.")
@settings_option("Change a field of the recipe")
@click.option(
    "--init",
    type=click.Choice(["pretrained", "meta"]),
    default="pretrained",
    show_default=True,
    help="Start from the pretrained weights, or from the prior's meta-learned ones.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to compute.",
)
@cache_limit_option
@click.option("--deterministic", is_flag=True, help="Repeat bit for bit, at some cost.")
@click.option("--overwrite", is_flag=True, help="Replace the Run that --out holds.")
@format_option
def command(
    *,
    source: DatasetSource,
    out: Path,
    backbone: str | None,
    plain: bool,
    recipe_file: Path | None,
    goal: Goal | None,
    prior: str | None,
    probe: bool,
    race: int | None,
    rows: int | None,
    settings: dict[str, str],
    init: str,
    device: Any,
    cache_limit_bytes: int | None,
    deterministic: bool,
    overwrite: bool,
    output_format: str,
) -> None:
    """Fine-tune once and save the Run.

    Without --plain or --recipe, the prior suggests the recipe. Validation rows choose the
    epoch; test rows only report.
    """
    from metaft.files import refuse_unwritable
    from metaft.finetuning.run_folder import check_out_folder

    _refuse_contradictions(
        plain=plain,
        recipe_file=recipe_file,
        goal=goal,
        prior=prior,
        init=init,
        probe=probe,
        race=race,
    )
    check_out_folder(out, overwrite=overwrite)
    refuse_unwritable(out)
    if init == "meta" and prior is not None:
        from metaft.prior.starting import find_initialisation

        find_initialisation(prior)  # Refused before any row is loaded.
    whole = source.load()
    task = _sample(whole, rows)
    if plain or recipe_file:
        choices = [_Choice(_given_recipe(recipe_file), None)]
    else:
        if probe:
            print_notice("taking trial steps")
        suggestion = source.ask_prior(
            whole,
            backbone=backbone,
            prior=prior,
            rows=rows,
            goal=goal or "score",
            probe=probe,
            top=race or 1,
        )
        choices, backbone = _choices_of(suggestion), suggestion.backbone
    choices = [choice.changed(settings, init) for choice in choices]
    network = _load_backbone(backbone, task, init, prior, source.offline)
    how: dict[str, Any] = {
        "device": device,
        "deterministic": deterministic,
        "cache_limit_bytes": cache_limit_bytes,
    }
    if race:
        raced = run_race(task, network, [choice.recipe for choice in choices], **how)
        choice, tuned, facts = choices[raced.winner], raced.tuned, raced.facts
    else:
        choice, facts = choices[0], None
        tuned = _run(task, network, choice.recipe, **how)
    recipe, predicted = choice.recipe, choice.predicted
    trace = _trace(tuned, task, whole, network, recipe) | ({"race": facts} if facts else {})
    _save(out, tuned, task=task, recipe=recipe, trace=trace, init=init, predicted=predicted)
    answer = answer_of(
        source.name,
        out,
        recipe=recipe,
        init=init,
        trace=trace,
        predicted=predicted,
        probe=choice.probe,
        race=facts,
    )
    print_answer(answer, output_format, render_answer)


@dataclass(frozen=True)
class _Choice:
    """A recipe, and what the prior predicts of it."""

    recipe: Recipe
    predicted: Mapping[str, Any] | None
    probe: Mapping[str, Any] | None = None

    def changed(self, changes: Mapping[str, str], init: str) -> _Choice:
        """Return the choice with some fields set.

        What was predicted is a run of the suggested recipe from the pretrained weights.
        """
        recipe = self.recipe.with_settings(changes)
        is_predicted = not changes and init == "pretrained"
        return _Choice(recipe, self.predicted if is_predicted else None, self.probe)


def _refuse_contradictions(
    *,
    plain: bool,
    recipe_file: Path | None,
    goal: str | None,
    prior: str | None,
    init: str,
    probe: bool,
    race: int | None,
) -> None:
    named = {"--plain": plain, "--recipe": recipe_file, "--goal": goal}
    given = [name for name, value in named.items() if value]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} name two recipes", "Give one of them")
    if race and (plain or recipe_file):
        raise UserError(
            f"--race starts {race} recipes of the prior, and {given[0]} does not ask it",
            "Leave one of them out",
        )
    if prior and init == "pretrained" and (plain or recipe_file):
        raise UserError(
            f"--prior is {prior!r}, and {given[0]} does not ask it", "Leave one of them out"
        )
    if probe and (plain or recipe_file):
        raise UserError(
            f"--probe informs the prior, and {given[0]} does not ask it", "Leave one of them out"
        )


def _sample(whole: Task, rows: int | None) -> Task:
    """Return the rows of this run."""
    from metaft.tasks.split import MAX_VALIDATION_ROWS, subsample

    if rows is not None and rows > len(whole.train):
        print_notice(f"{whole.name} has {len(whole.train):,} training rows; all of them are used.")
    return subsample(whole, train_rows=rows, validation_rows=MAX_VALIDATION_ROWS)


def _given_recipe(recipe_file: Path | None) -> Recipe:
    from metaft.finetuning.run_folder import load_recipe_of_run
    from metaft.recipes import PLAIN, Recipe

    if recipe_file is None:
        return PLAIN
    return load_recipe_of_run(recipe_file) if recipe_file.is_dir() else Recipe.load(recipe_file)


def _choices_of(suggestion: Suggestion) -> list[_Choice]:
    """Return what a prior suggests, best first."""
    answer = suggestion.to_mapping()
    predicted = [one["predicted"] for one in (answer, *answer["alternatives"])]
    return [
        _Choice(recipe, said, answer["probe"])
        for recipe, said in zip(suggestion.recipes, predicted, strict=True)
    ]


def _load_backbone(
    identity: str | None, task: Task, init: str, prior: str | None, offline: bool
) -> Backbone:
    from metaft.backbones.load import default_backbone, load_backbone

    network = load_backbone(identity or default_backbone(task.modality), offline=offline)
    if init == "meta":
        from metaft.prior.starting import start_meta_learned

        start_meta_learned(network, prior)
    return network


def _run(
    task: Task,
    network: Backbone,
    recipe: Recipe,
    *,
    device: Any,
    cache_limit_bytes: int | None,
    deterministic: bool,
) -> FineTuned:
    from metaft.finetuning.loop import fine_tune
    from metaft.finetuning.prefix_cache import PrefixCache

    cache = PrefixCache(task, network, cache_limit_bytes, [recipe])
    cut = cache.examples("train", recipe).truncated
    if cut:
        print_notice(
            f"{cut:,} of {len(task.train):,} training rows are longer than {recipe.max_length} "
            "tokens, which is where they are cut; --set max_length=N takes more."
        )
    with progress_bar(f"fine-tuning on {task.name}", recipe.epochs) as advance:
        return fine_tune(
            task,
            network,
            recipe,
            device=device,
            cache=cache,
            deterministic=deterministic,
            on_epoch=lambda record: advance(
                note=f"validation {task.metric} {record.validation[task.metric]:.3f}"
            ),
        )


def _trace(
    tuned: FineTuned, task: Task, whole: Task, network: Backbone, recipe: Recipe
) -> dict[str, Any]:
    """Return the run's Trace as plain values."""
    import json
    from datetime import UTC, datetime

    from metaft.traces.environment import describe_environment
    from metaft.traces.trace import PlannedRun, trace_of

    trace: Trace = trace_of(
        tuned.outcome,
        run=PlannedRun(whole.name, network.identity, recipe, len(task.train), recipe.seed),
        task=whole,
        task_fingerprint=whole.fingerprint,
        backbone_fingerprint=network.fingerprint,
        environment=describe_environment(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        overhead_seconds=0.0,
        prefix_seconds=None,  # Its own costs hold it.
    )
    values: dict[str, Any] = json.loads(trace.to_json())
    return values


def _save(
    out: Path,
    tuned: FineTuned,
    *,
    task: Task,
    recipe: Recipe,
    trace: Mapping[str, Any],
    init: str,
    predicted: Mapping[str, Any] | None,
) -> None:
    from metaft.finetuning.run_folder import save_run

    if tuned.model is None:
        raise RunFailedError(
            f"the run ended as {trace['status']} before its first epoch: {trace['reason']}. "
            "Nothing was written. Lower the learning rate or the batch size."
        )
    if trace["status"] != "ok":
        print_notice(
            f"the run ended early as {trace['status']}: {trace['reason']}; "
            f"the model is the one after epoch {trace['best_epoch']}."
        )
    save_run(
        out,
        model=tuned.model,
        task=task,
        recipe=recipe,
        trace=trace,
        init=init,
        predicted=predicted,
    )
