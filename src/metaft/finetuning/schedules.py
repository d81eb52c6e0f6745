"""The learning rate over the steps of a run."""

from __future__ import annotations

from metaft.recipes import Recipe


def rate_factor(recipe: Recipe, step: int, total_steps: int) -> float:
    """Return the share of the peak learning rate at one step.

    The rate rises linearly over the warm-up, then stays (`constant`) or falls linearly to 0
    (`linear`), as in `transformers.get_scheduler`.

    Args:
        recipe: Names the schedule and the warm-up.
        step: 0 for the first.
        total_steps: Steps of the whole run, > 0.

    Returns:
        A factor in [0, 1].
    """
    warmup_steps = round(recipe.warmup_fraction * total_steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)  # No step is lost to a rate of 0.
    if recipe.schedule == "constant":
        return 1.0
    return (total_steps - step) / max(1, total_steps - warmup_steps)
