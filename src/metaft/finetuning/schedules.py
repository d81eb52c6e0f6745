"""The learning rate over the steps of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from metaft.recipes import Recipe

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR

TRIANGULAR_FLOOR = 0.1
"""Share of the peak between which and the peak a triangular rate goes up and down."""

ONE_CYCLE_START = 1 / 25
"""Share of the peak at which one cycle starts, as `torch.optim.lr_scheduler.OneCycleLR` does."""

ONE_CYCLE_END = ONE_CYCLE_START / 1e4
"""Share of the peak at which it ends."""

MOST_WARMUP = 0.5
"""Share of a run that a warm-up given in steps takes at most."""


def rate_factor(recipe: Recipe, step: int, total_steps: int) -> float:
    """Return the share of the peak learning rate at one step.

    The rate rises linearly over the warm-up to where the schedule begins, then follows it as in
    `transformers.get_scheduler`. `adaptive` is constant here: `AdaptiveRate` lowers it.

    Args:
        recipe: Names the schedule and the warm-up.
        step: 0 for the first.
        total_steps: Steps of the whole run, > 0.

    Returns:
        A factor in [0, 1].
    """
    warmup = warmup_steps_of(recipe, total_steps)
    if recipe.schedule == "one_cycle":
        return _one_cycle(step, warmup, total_steps)
    if step < warmup:
        start = TRIANGULAR_FLOOR if recipe.schedule == "triangular" else 1.0
        return start * (step + 1) / (warmup + 1)  # No step is lost to a rate of 0.
    left, length = total_steps - step, max(1, total_steps - warmup)
    if recipe.schedule == "linear":
        return left / length
    if recipe.schedule == "polynomial":
        return (left / length) ** recipe.schedule_power
    # In whole numbers, so that no cycle begins a step late.
    phase = ((step - warmup) * recipe.schedule_cycles % length) / length
    if recipe.schedule == "cosine":
        return _between(1.0, 0.0, phase)
    if recipe.schedule == "triangular":
        return 1.0 - (1.0 - TRIANGULAR_FLOOR) * abs(2 * phase - 1)
    return 1.0


def total_steps_of(recipe: Recipe, train_rows: int) -> int:
    """Return the steps of a whole run on so many rows."""
    return recipe.epochs * math.ceil(train_rows / recipe.batch_size)


def warmup_steps_of(recipe: Recipe, total_steps: int) -> int:
    """Return the steps over which the rate rises."""
    if recipe.warmup_steps is None:
        return round(recipe.warmup_fraction * total_steps)
    return min(recipe.warmup_steps, int(MOST_WARMUP * total_steps))


def build_schedule(optimizer: Optimizer, recipe: Recipe, total_steps: int) -> LambdaLR:
    """Return the schedule as torch and `transformers.Trainer` take one.

    Args:
        optimizer: Its rates are the peaks.
        recipe: Names the schedule and the warm-up; the rate of `adaptive` stays constant here.
        total_steps: Steps of the whole run, > 0.
    """
    from torch.optim.lr_scheduler import LambdaLR

    return LambdaLR(optimizer, lambda step: rate_factor(recipe, step, total_steps))


def _one_cycle(step: int, warmup: int, total_steps: int) -> float:
    """Rise by a cosine to the last step of the warm-up, and fall by another to the end.

    Source: Smith & Topin (2018), Super-Convergence, as `OneCycleLR` has it.
    """
    peak = max(0, warmup - 1)
    if step <= peak:
        return _between(ONE_CYCLE_START, 1.0, step / peak if peak else 1.0)
    return _between(1.0, ONE_CYCLE_END, (step - peak) / max(1, total_steps - 1 - peak))


def _between(start: float, end: float, share: float) -> float:
    """Go from start to end along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
