"""The race of `metaft finetune --race N`: the option, the work and the words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from metaft.cli.output import print_notice, progress_bar
from metaft.errors import UserError

if TYPE_CHECKING:
    from metaft.backbones.backbone import Backbone
    from metaft.finetuning.loop import FineTuned
    from metaft.finetuning.race import Racer
    from metaft.recipes import Recipe
    from metaft.tasks.task import Task

_Command = TypeVar("_Command", bound=Callable[..., Any])


def race_option(command: _Command) -> _Command:
    """Add `--race`, as the parameter `race`; None is no race."""
    return click.option(
        "--race",
        type=click.IntRange(2, 8),
        metavar="N",
        help="Start the prior's N best recipes (2 to 8), and after one epoch go on with the one "
        "that leads on the validation rows.",
    )(command)


@dataclass(frozen=True, eq=False)
class Raced:
    """A race and the run of its winner.

    Attributes:
        winner: Number of the recipe that went on.
        tuned: Its run; the costs are those of all.
        facts: What the answer says of the race.
    """

    winner: int
    tuned: FineTuned
    facts: Mapping[str, Any]


def run_race(
    task: Task,
    network: Backbone,
    recipes: Sequence[Recipe],
    *,
    device: Any,
    cache_limit_bytes: int | None,
    deterministic: bool,
) -> Raced:
    """Race recipes, and run the winner to its end.

    Raises:
        UserError: If there are not two different ones.
    """
    from metaft.finetuning.prefix_cache import PrefixCache
    from metaft.finetuning.race import race

    _refuse_alike(recipes)
    with progress_bar(f"racing on {task.name}", len(recipes)) as advance:

        def on_racer(racer: Racer) -> None:
            advance()
            print_notice(f"race: {_racer_in_words(racer, task.metric)}")

        done = race(
            task,
            network,
            recipes,
            device=device,
            cache=PrefixCache(task, network, cache_limit_bytes, recipes),
            deterministic=deterministic,
            on_racer=on_racer,
        )
    facts = done.to_mapping()
    print_notice(f"race: {_verdict(facts)}")
    with progress_bar(f"fine-tuning on {task.name}", recipes[done.winner].epochs) as advance:
        advance(note="the first epoch is that of the race")
        tuned = done.go_on(
            on_epoch=lambda record: advance(
                note=f"validation {task.metric} {record.validation[task.metric]:.3f}"
            )
        )
    return Raced(done.winner, tuned, facts)


def race_in_words(facts: Mapping[str, Any]) -> list[str]:
    """Return the lines that a person reads of a race."""
    lines = [f"race       {_verdict(facts)}"]
    for racer in facts["racers"]:
        score = racer["validation"]
        reached = racer["status"] if score is None else f"{facts['metric']} {score:.3f}"
        mark = ">" if racer["won"] else " "
        lines.append(
            f"         {mark} {_recipe_in_words(racer['recipe'])}: {reached} after epoch 1"
        )
    return lines


def _refuse_alike(recipes: Sequence[Recipe]) -> None:
    if len(recipes) < 2:
        raise UserError("--race needs two recipes, and the prior suggests one", "Leave --race out")
    if len(set(recipes)) < len(recipes):
        raise UserError(
            "--set makes recipes of the race the same", "Leave out --race, or that --set"
        )


def _racer_in_words(racer: Racer, metric: str) -> str:
    reached: str = racer.status
    if racer.status == "ok":
        reached = f"validation {metric} {racer.score:.3f} after one epoch"
    seconds = racer.costs.wall_seconds
    return f"{_recipe_in_words(racer.recipe.to_mapping())}: {reached}, {seconds:.1f} s"


def _recipe_in_words(recipe: Mapping[str, Any]) -> str:
    return (
        f"learning rate {recipe['learning_rate']:g}, frozen {recipe['frozen_fraction']:.0%}, "
        f"batch {recipe['batch_size']}, {recipe['head_init']} head, {recipe['epochs']} epochs"
    )


def _verdict(facts: Mapping[str, Any]) -> str:
    """Say which recipe went on, and why."""
    racers = facts["racers"]
    winner = next(at for at, racer in enumerate(racers, 1) if racer["won"])
    cost = f"the others took {facts['wall_seconds']:.1f} s"
    first, won = racers[0]["validation"], racers[winner - 1]["validation"]
    if winner == 1:
        why = f"no other led it by more than {facts['lead_points']:g} points"
    elif first is None:
        why = "recipe 1 broke off"
    else:
        why = f"it led recipe 1 by {100 * (won - first):.1f} points"
    return f"recipe {winner} of {len(racers)} went on: {why}; {cost}"
