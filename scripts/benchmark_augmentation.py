"""Measure what augmentation costs: training epochs with each method against epochs without.

    python scripts/benchmark_augmentation.py [--dataset sms_spam] [--backbone ID] [--rows 256]

Runs with and without take turns in one process, epoch by epoch, and ratios are formed within a
round. Few rows are scored after an epoch, so that nearly all of it is training. What a run takes
to find words and neighbours before its first epoch stands on a line of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
from collections.abc import Callable

# Read when the libraries are imported, so it comes first.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import measuring
import numpy as np
import torch
from measuring import Cost, Figure, Spread, times_faster

from metaft.backbones.backbone import Backbone
from metaft.backbones.load import default_backbone, load_backbone
from metaft.finetuning.augmentation import build_augmenter
from metaft.finetuning.batches import training_batches
from metaft.finetuning.loop import begin_run
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.recipes import IMAGE_AUGMENTATIONS, TEXT_AUGMENTATIONS, Recipe
from metaft.tasks.load import load_task
from metaft.tasks.split import subsample
from metaft.tasks.task import Task

SCORED_ROWS = 8
MOST_COST = {"text": 0.05, "image": 0.10}
"""Share of an epoch without augmentation that all methods together may add."""

NOTES = (
    "Ratios: the cost of an epoch without augmentation over that of one with it; median (range).",
    "A goal is set for all methods together; 1 / 1.05 = 0.952 and 1 / 1.10 = 0.909.",
)


def main() -> None:
    """Measure, and print the table."""
    options = _parse_arguments()
    torch.set_num_threads(options.threads)
    whole = load_task(options.dataset)
    task = subsample(
        whole, train_rows=options.rows, validation_rows=SCORED_ROWS, test_rows=SCORED_ROWS
    )
    backbone = load_backbone(options.backbone or default_backbone(task.modality))
    recipe = Recipe(epochs=options.rounds + 1, augmentation_strength=options.strength)
    figures = measure(task, backbone, recipe)
    measuring.print_figures(figures, options.format, packages=["torchvision"], notes=NOTES)


def measure(task: Task, backbone: Backbone, recipe: Recipe) -> list[Figure]:
    """Let epochs with and without each method take turns.

    Args:
        task: Of few validation rows.
        backbone: Pretrained.
        recipe: Without augmentation, of one epoch more than there are rounds.
    """
    recipes = {"none": recipe} | {
        name: dataclasses.replace(recipe, augmentation=methods)
        for name, methods in _methods_of(task).items()
    }
    cache = PrefixCache(task, backbone)
    runs = {
        name: begin_run(task, backbone, wanted, cache=cache) for name, wanted in recipes.items()
    }
    for run in runs.values():
        run.advance(1)  # Builds the model and warms everything up.

    def next_epoch(name: str) -> Callable[[], object]:
        return lambda: runs[name].advance(len(runs[name].curve) + 1)

    rounds = recipe.epochs - 1
    actions = {name: next_epoch(name) for name in runs}
    costs = measuring.take_turns(actions, rounds, measuring.say_turn)
    goals = {"together": 1 / (1 + MOST_COST[task.modality])}
    figures = [
        times_faster(
            f"{name}: no augmentation over it", costs["none"], costs[name], goals.get(name)
        )
        for name in recipes
        if name != "none"
    ]
    figures.append(_seconds("an epoch without augmentation: seconds", costs["none"]))
    figures.append(_changing(task, backbone, recipes["together"], cache, costs["none"]))
    return [*figures, _preparation(task, backbone, recipes["together"], cache, rounds)]


def _methods_of(task: Task) -> dict[str, str]:
    """Return each method, and all together."""
    names = IMAGE_AUGMENTATIONS if task.modality == "image" else TEXT_AUGMENTATIONS
    names = tuple(name for name in names if name != "wordnet")  # Its corpus may not be there.
    return {**{name: name for name in names}, "together": "+".join(names)}


def _changing(
    task: Task, backbone: Backbone, recipe: Recipe, cache: PrefixCache, epochs: list[Cost]
) -> Figure:
    """Say which share of an epoch it takes to change all rows by all methods.

    What longer texts and soft labels cost in the model is not in it, nor is the noise of whole
    epochs, which hides a few percent.
    """
    examples = cache.examples("train", recipe)
    augmenter = build_augmenter(backbone, task.train, examples, recipe)
    assert augmenter is not None  # The recipe names methods.
    batches = training_batches(examples.lengths, recipe.batch_size, np.random.default_rng(0))

    def change(epoch: int) -> None:
        for rows in batches:
            augmenter.vary(rows, epoch)
            augmenter.mix(rows, epoch)

    change(1)
    costs = [measuring.cost_of(functools.partial(change, i + 2)) for i in range(len(epochs))]
    return times_faster("together, changing the rows: share of an epoch", costs, epochs)


def _preparation(
    task: Task, backbone: Backbone, recipe: Recipe, cache: PrefixCache, rounds: int
) -> Figure:
    """Say what it takes to make all methods ready for a run."""
    examples = cache.examples("train", recipe)
    costs = [
        measuring.cost_of(lambda: build_augmenter(backbone, task.train, examples, recipe))
        for _ in range(rounds)
    ]
    return _seconds("making all methods ready, once per run: seconds", costs)


def _seconds(what: str, costs: list[Cost]) -> Figure:
    wall, cpu = (cost.wall_seconds for cost in costs), (cost.cpu_seconds for cost in costs)
    return Figure(what, Spread.of(wall), Spread.of(cpu))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="sms_spam", help="a task's name or a path")
    parser.add_argument("--backbone", help="default: that of the task's modality")
    parser.add_argument("--rows", type=int, default=256, help="training rows")
    parser.add_argument("--strength", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--format", choices=["table", "json", "yaml"], default="table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
