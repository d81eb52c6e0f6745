"""Measure what an image run gains on a CPU by its layout and by float32 where bf16 is slow.

    python scripts/benchmark_convolutions.py [--dataset fashion_mnist] [--backbone ID] [--rows 96]

Three runs of each backbone take turns in one process, epoch by epoch, and ratios are formed within
a round: as torch does it; with channels last in memory; and as metaft does it, with slow depthwise
convolutions in float32 beside that. An epoch's steps and a scoring of as many rows are timed apart.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from unittest import mock

import measuring
import torch
from measuring import Figure, times_faster

from metaft.backbones import image
from metaft.backbones.backbone import Backbone
from metaft.backbones.load import load_backbone
from metaft.finetuning.loop import OpenRun, begin_run
from metaft.finetuning.outcome import EpochRecord
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.recipes import Recipe
from metaft.tasks.load import load_task
from metaft.tasks.split import subsample
from metaft.tasks.task import Task

BACKBONES = ("timm/mobilenetv2_100.tv_in1k", "timm/tf_efficientnet_lite0.in1k")
WAYS = ("as torch does it", "channels last", "metaft")
NOTES = (
    "Ratios: the cost over that of metaft's way within a round; median (range).",
    "Steps: an epoch with everything learning; scoring: a pass over as many validation rows.",
)


def main() -> None:
    """Measure, and print the table."""
    options = _parse_arguments()
    torch.set_num_threads(options.threads)
    counts = dict.fromkeys(("train_rows", "validation_rows", "test_rows"), options.rows)
    task = subsample(load_task(options.dataset), **counts)
    recipe = Recipe(epochs=options.rounds + 1, batch_size=options.batch_size)
    figures = [
        figure
        for identity in options.backbone or BACKBONES
        for figure in measure(task, load_backbone(identity), recipe)
    ]
    measuring.print_figures(figures, options.format, packages=["timm"], notes=NOTES)


def measure(task: Task, backbone: Backbone, recipe: Recipe) -> list[Figure]:
    """Let the ways take turns.

    Args:
        task: Of images.
        backbone: Pretrained.
        recipe: Of one epoch more than there are rounds.
    """
    cache = PrefixCache(task, backbone)
    runs = {way: begin_run(task, backbone, recipe, cache=cache) for way in WAYS}
    actions: dict[str, Callable[[], object]] = {}
    for way, run in runs.items():
        _train_only(run)
        _go_on(way, run)  # Builds the model and warms everything up.
        actions[f"steps, {way}"] = lambda way=way, run=run: _go_on(way, run)
        actions[f"scoring, {way}"] = lambda way=way, run=run: _score(way, run)
    costs = measuring.take_turns(actions, recipe.epochs - 1, measuring.say_turn)
    return [
        times_faster(
            f"{backbone.identity}, {work}: {way} over metaft",
            costs[f"{work}, {way}"],
            costs[f"{work}, {WAYS[-1]}"],
        )
        for work in ("steps", "scoring")
        for way in WAYS[:-1]
    ]


def _train_only(run: OpenRun) -> None:
    """Leave out the scoring after each epoch, which is timed apart."""

    def keep(epoch: int, loss: float, train_seconds: float) -> None:
        record = EpochRecord(epoch, loss, {}, {}, (), train_seconds, evaluation_seconds=0.0)
        run.curve.append(record)

    run._record = keep  # type: ignore[method-assign]


def _go_on(way: str, run: OpenRun) -> None:
    with _computing(way):
        run.advance(len(run.curve) + 1)


def _score(way: str, run: OpenRun) -> None:
    with _computing(way):
        run._score("validation", 1)


@contextlib.contextmanager
def _computing(way: str) -> Iterator[None]:
    """Undo what metaft does for convolutions, but for what a way has of it."""
    with contextlib.ExitStack() as undone:
        if way != WAYS[-1]:
            none = contextlib.nullcontext()
            undone.enter_context(mock.patch.object(image, "quick_convolutions", return_value=none))
        if way == WAYS[0]:
            undone.enter_context(mock.patch.object(image, "_laid_out", lambda pixels: pixels))
        yield


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="fashion_mnist", help="a task's name or a path")
    parser.add_argument("--backbone", action="append", help="can be given several times")
    parser.add_argument("--rows", type=int, default=96, help="training and scored rows")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--format", choices=["table", "json", "yaml"], default="table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
