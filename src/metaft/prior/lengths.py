"""How long the texts of a run may be: long enough for nearly all of them."""

from __future__ import annotations

import dataclasses
import math

from metaft.prior.described import Described
from metaft.prior.outlook import OutcomeModels
from metaft.prior.space import Space
from metaft.recipes import Recipe

LENGTHS: tuple[int, ...] = (Recipe().max_length, 192, 256)
"""Tokens that are suggested; few, so that runs on like data have one length. Beyond 256 the cost
doubled again, and the score did not rise (docs/kinds.md)."""


def length_for(row: Described) -> int:
    """Return the tokens that 95 % of a task's training rows do not exceed, in steps up to 256.

    Args:
        row: Features of the task; where they tell no lengths, as of images, the first step.
    """
    log2_tokens = row.values.get("log2_tokens_q95", math.nan)
    if math.isnan(log2_tokens):
        return LENGTHS[0]
    needed = 2.0**log2_tokens
    return next((length for length in LENGTHS if length >= needed), LENGTHS[-1])


def lengthened(models: OutcomeModels, tokens: int) -> OutcomeModels:
    """Return models whose costs are those of longer texts; scores stay as they were recorded."""
    cells = tuple(lengthen(cell, tokens) for cell in models.space.cells)
    space = Space(cells, models.space.families)
    return dataclasses.replace(models, costs=dataclasses.replace(models.costs, space=space))


def lengthen(recipe: Recipe, tokens: int) -> Recipe:
    """Return a recipe that takes texts of at least so many tokens."""
    return dataclasses.replace(recipe, max_length=max(recipe.max_length, tokens))
