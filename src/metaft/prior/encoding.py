"""How a recipe, on a task of a given size, looks to a model: a vector of fixed length."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from metaft.recipes import Recipe

RECIPE_INPUTS: tuple[str, ...] = (
    "log10_learning_rate",
    "frozen_fraction",
    "log2_epochs",
    "log2_batch_size",
    "weight_decay",
    "warmup_epochs",
    "dropout",
    "is_linear_schedule",
    "is_linear_probe",
    "is_head_alone",
    "log2_max_length",
    "log2_steps",
    "log10_distance",
)
"""Inputs in order; `log10_distance` is of learning rate x steps, how far weights may move."""


_SCHEDULES = ("constant", "linear")

UNKNOWN_FIELDS: tuple[str, ...] = (
    "freezing",
    "optimizer",
    "warmup_steps",
    "layer_rate_decay",
    "label_smoothing",
    "class_weights",
    "augmentation",
    "head",
    "max_gradient_norm",
    "image_size",
    "early_stopping_patience",
)
"""Fields that no input tells of: recipes that differ in them would look alike."""


def is_told_apart(recipe: Recipe) -> bool:
    """Say whether the inputs tell all of a recipe: what is unknown to them is at its default."""
    usual = Recipe()
    return recipe.schedule in _SCHEDULES and all(
        getattr(recipe, name) == getattr(usual, name) for name in UNKNOWN_FIELDS
    )


def encode_recipes(recipes: Sequence[Recipe], train_rows: int) -> np.ndarray:
    """Encode recipes as they would run on so many training rows.

    Returns:
        `(recipes, inputs)`, see `RECIPE_INPUTS`.
    """
    return np.array([_encode(recipe, train_rows) for recipe in recipes], dtype=np.float64)


def _encode(recipe: Recipe, train_rows: int) -> list[float]:
    steps = recipe.epochs * math.ceil(train_rows / recipe.batch_size)
    return [
        math.log10(recipe.learning_rate),
        recipe.frozen_fraction,
        math.log2(recipe.epochs),
        math.log2(recipe.batch_size),
        recipe.weight_decay,
        recipe.warmup_fraction * recipe.epochs,
        recipe.dropout,
        recipe.schedule == "linear",
        recipe.head_init == "linear_probe",
        recipe.frozen_fraction == 1.0,
        math.log2(recipe.max_length),
        math.log2(steps),
        math.log10(recipe.learning_rate * steps),
    ]
