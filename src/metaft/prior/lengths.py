"""How long the texts of a run may be: long enough for nearly all of them."""

from __future__ import annotations

import dataclasses
import math

from metaft.prior.described import Described
from metaft.prior.outlook import OutcomeModels
from metaft.recipes import Recipe

AS_RECORDED = 0
"""Take texts as the recorded runs did."""

LENGTHS: tuple[int, ...] = (192, 256)
"""Tokens that are suggested; few, so that runs on like data have one length. Beyond 256 the cost
doubled again, and the score did not rise (docs/kinds.md)."""


def length_for(row: Described) -> int:
    """Return the tokens that 95 % of a task's training rows do not exceed, in steps up to 256.

    Args:
        row: Features of the task.

    Returns:
        `AS_RECORDED` where the usual length is enough, or the features tell none, as of images.
    """
    log2_tokens = row.values.get("log2_tokens_q95", math.nan)
    if math.isnan(log2_tokens) or 2.0**log2_tokens <= Recipe().max_length:
        return AS_RECORDED
    needed = 2.0**log2_tokens
    return next((length for length in LENGTHS if length >= needed), LENGTHS[-1])


def lengthened(models: OutcomeModels, tokens: int) -> OutcomeModels:
    """Return models whose costs are those of longer texts; scores stay as they were recorded."""
    if tokens == AS_RECORDED:
        return models
    longer = [lengthen(cell, tokens) for cell in models.space.cells]
    return dataclasses.replace(models, costs=models.costs.for_recipes(longer))


def lengthen(recipe: Recipe, tokens: int) -> Recipe:
    """Return a recipe that takes texts of at least so many tokens."""
    return dataclasses.replace(recipe, max_length=max(recipe.max_length, tokens))
