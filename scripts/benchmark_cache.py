"""Measure the frozen-prefix cache: runs that read it against runs that compute everything.

    python scripts/benchmark_cache.py [--dataset sms_spam] [--backbone ID] [--rows 128] [--rounds 3]

Cached and uncached runs take turns in one process, and ratios are formed within a round. The
cache is filled once before, as the first run of a task fills it for all others; what the pass
takes stands on a line of its own. Then the same model is scored with and without the cache, and
beside the difference stands what bf16 itself differs from fp32.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Read when the libraries are imported, so it comes first.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import measuring
import numpy as np
import torch
from measuring import Cost, Figure, Spread, times_faster

from metaft.backbones.backbone import Backbone
from metaft.backbones.load import default_backbone, load_backbone
from metaft.finetuning.device import Compute, resolve_compute
from metaft.finetuning.feed import open_feed
from metaft.finetuning.loop import FineTuned, fine_tune
from metaft.finetuning.model import Classifier
from metaft.finetuning.prefix_cache import SPLITS, PrefixCache
from metaft.recipes import Recipe
from metaft.tasks.load import load_task
from metaft.tasks.split import subsample
from metaft.tasks.task import Task

IN_FILES = 1  # Bytes of memory for states: not one of them fits.
NOTES = (
    "Ratios: the uncached run's cost over the cached one's within a round; median (range).",
    "Every run scores the validation rows after every epoch and the test rows at the end.",
    "A run alone fills its cache itself; the ratios above share a cache that is filled.",
)


@dataclass(frozen=True, eq=False)
class Setting:
    """What is measured on: the rows, the pretrained backbone, and two recipes."""

    task: Task
    backbone: Backbone
    half: Recipe
    head: Recipe

    def cache(self, limit_bytes: int | None, *recipes: Recipe) -> PrefixCache:
        """Return an empty cache for runs of some recipes, by default both."""
        wanted = recipes or (self.half, self.head)
        return PrefixCache(self.task, self.backbone, limit_bytes, wanted)

    def fill(self, *recipes: Recipe) -> None:
        """Fill a new cache for the runs of some recipes."""
        cache = self.cache(None, *recipes)
        for recipe in recipes:
            cache.prepare(recipe, self.compute)

    def run(self, recipe: Recipe, cache: PrefixCache) -> FineTuned:
        """Make a run that reads a cache."""
        return fine_tune(self.task, self.backbone, recipe, cache=cache)

    @property
    def compute(self) -> Compute:
        return resolve_compute("auto", self.half.precision)


def main() -> None:
    """Measure, and print the table."""
    options = _parse_arguments()
    torch.set_num_threads(options.threads)
    setting = _set_up(options)
    figures = _measure(setting, options.rounds)
    measuring.print_figures(figures, options.format, notes=[*NOTES, *_differences(setting)])


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="sms_spam", help="a task's name or a path")
    parser.add_argument("--backbone", help="default: that of the task's modality")
    parser.add_argument("--rows", type=int, default=128, help="training rows, and of each other")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--format", choices=["table", "json", "yaml"], default="table")
    return parser.parse_args()


def _set_up(options: argparse.Namespace) -> Setting:
    whole = load_task(options.dataset)
    counts = {f"{split}_rows": options.rows for split in SPLITS}
    recipe = Recipe(learning_rate=3e-4, epochs=options.epochs, frozen_fraction=0.5)
    return Setting(
        task=subsample(whole, **counts),
        backbone=load_backbone(options.backbone or default_backbone(whole.modality)),
        half=recipe,
        head=dataclasses.replace(recipe, frozen_fraction=1.0, learning_rate=3e-3),
    )


def _measure(setting: Setting, rounds: int) -> list[Figure]:
    """Let cached and uncached runs take turns."""
    off, memory, file = (setting.cache(limit) for limit in (0, None, IN_FILES))
    for cache in (off, memory, file):  # Also encodes the rows.
        for recipe in (setting.half, setting.head):
            cache.prepare(recipe, setting.compute)
    half, head = setting.half, setting.head
    actions: dict[str, Callable[[], object]] = {
        "half uncached": lambda: setting.run(half, off),
        "half in memory": lambda: setting.run(half, memory),
        "half in a file": lambda: setting.run(half, file),
        "head uncached": lambda: setting.run(head, off),
        "head cached": lambda: setting.run(head, memory),
        "a pass to half": lambda: setting.fill(half),
        "a pass to all": lambda: setting.fill(half, head),
        "gathering": lambda: _gather(setting, memory),
    }
    return _figures(measuring.take_turns(actions, rounds, measuring.say_turn))


def _gather(setting: Setting, cache: PrefixCache) -> None:
    """Put every training row of an epoch together, and no more."""
    feed = open_feed(cache, "train", setting.half, setting.compute)
    if feed.states is None:
        raise RuntimeError("half of the blocks are frozen, but their states are not cached")
    tokens = None if setting.task.modality == "image" else int(feed.examples.lengths.max())
    for at in range(0, len(feed.examples), setting.half.batch_size):
        rows = np.arange(at, min(at + setting.half.batch_size, len(feed.examples)))
        feed.states.gather(rows, tokens)


def _figures(costs: dict[str, list[Cost]]) -> list[Figure]:
    whole, cached = costs["half uncached"], costs["half in memory"]
    alone = [run + once for run, once in zip(cached, costs["a pass to half"], strict=True)]
    gathering = [cost.times(1000) for cost in costs["gathering"]]
    return [
        times_faster("half frozen: cached", whole, cached),
        times_faster("half frozen, a run alone: cached", whole, alone),
        times_faster("head only: cached", costs["head uncached"], costs["head cached"]),
        times_faster("half frozen: file against memory", cached, costs["half in a file"]),
        _seconds("half frozen, uncached: seconds", whole),
        _seconds("one pass to half of the depth: seconds", costs["a pass to half"]),
        _seconds("one pass to all of it, which gives both: seconds", costs["a pass to all"]),
        _seconds("gathering one epoch's batches: milliseconds", gathering),
    ]


def _seconds(what: str, costs: list[Cost]) -> Figure:
    wall, cpu = (cost.wall_seconds for cost in costs), (cost.cpu_seconds for cost in costs)
    return Figure(what, Spread.of(wall), Spread.of(cpu))


def _differences(setting: Setting) -> list[str]:
    """Say how far cached logits and scores are from uncached ones."""
    off, memory = setting.cache(0), setting.cache(None)
    lines = []
    for name, recipe in (("half frozen", setting.half), ("head only", setting.head)):
        cached, uncached = setting.run(recipe, memory), setting.run(recipe, off)
        if cached.model is None or uncached.model is None:
            raise RuntimeError(f"{name}: no epoch finished: {cached.outcome.reason}")
        apart = _logits(recipe, memory, cached.model)
        whole = _logits(recipe, off, cached.model)
        exact = _logits(dataclasses.replace(recipe, precision="fp32"), off, cached.model)
        metric = setting.task.metric
        scores = [tuned.outcome.test[metric] for tuned in (cached, uncached)]
        lines.append(
            f"{name} in {setting.compute.precision}: logits of one model differ by at most "
            f"{float((apart - whole).abs().max()):.2g} with and without the cache (from fp32 "
            f"without it by {float((whole - exact).abs().max()):.2g}; their deviation is "
            f"{float(exact.std()):.2g}); test {metric} after training with it {scores[0]:.4f}, "
            f"without {scores[1]:.4f}"
        )
    return lines


@torch.no_grad()
def _logits(recipe: Recipe, cache: PrefixCache, model: Classifier) -> Any:
    """Return the logits of the validation rows, `(rows, outputs)`."""
    model.eval()
    feed = open_feed(cache, "validation", recipe, resolve_compute("auto", recipe.precision))
    rows = np.arange(len(feed.examples))
    parts = [feed.logits(model, rows[at : at + 16]).float().cpu() for at in range(0, len(rows), 16)]
    return torch.cat(parts)


if __name__ == "__main__":
    main()
