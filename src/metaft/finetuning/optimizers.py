"""The optimiser of a run, with a rate and a decay for each of its parts."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from metaft.errors import MissingExtraError
from metaft.finetuning.model import Classifier, trainable
from metaft.recipes import Recipe

RATE_SCALE = "rate_scale"
"""Key of a parameter group: what the rate of the run is multiplied by there."""

SGD_MOMENTUM = 0.9

# Optimiser -> the module that it comes from and its name there.
_FROM_EXTRAS = {
    "schedule_free": ("schedulefree", "AdamWScheduleFree"),
    "prodigy": ("prodigyopt", "Prodigy"),
}


def build_optimizer(model: Classifier, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser for what learns, with decay on matrices alone.

    Raises:
        MissingExtraError: If it comes from a package that is not installed.
    """
    groups = [group for part in _parts(model, recipe) for group in _groups(*part, recipe)]
    build: Callable[..., torch.optim.Optimizer] = _class_of(recipe)
    return build(groups, lr=recipe.learning_rate, **_options(recipe))


def check_optimizer(recipe: Recipe) -> None:
    """See that the recipe's optimiser can be had.

    Raises:
        MissingExtraError: If it comes from a package that is not installed.
    """
    _class_of(recipe)


def _class_of(recipe: Recipe) -> Any:
    if recipe.optimizer not in _FROM_EXTRAS:
        return {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}[
            recipe.optimizer
        ]
    package, name = _FROM_EXTRAS[recipe.optimizer]
    try:
        return getattr(importlib.import_module(package), name)
    except ImportError as error:
        raise MissingExtraError(
            f"the optimizer {recipe.optimizer} needs the Python package {package}, which is not "
            "installed",
            f"Install it (pip install {package}), or set optimizer to adamw",
        ) from error


def _options(recipe: Recipe) -> dict[str, Any]:
    if recipe.optimizer == "sgd":
        return {"momentum": SGD_MOMENTUM, "fused": True}
    if recipe.optimizer == "prodigy":  # As its authors advise for a rate that warms up.
        return {"safeguard_warmup": True, "use_bias_correction": True}
    return {"fused": True} if recipe.optimizer in ("adamw", "adam") else {}


def _parts(model: Classifier, recipe: Recipe) -> list[tuple[list[nn.Parameter], float]]:
    """Return what learns, cut where the rate differs, with the factor of the rate."""
    learning = list(trainable(model).values())
    if recipe.layer_rate_decay == 1.0:
        return [(learning, 1.0)]
    blocks = [list(block.parameters()) for block in model.backbone.blocks()]
    lowest = [p for module in model.backbone.stem() for p in module.parameters()]
    parts = []
    for above, part in enumerate([*reversed(blocks), lowest]):
        parts.append((_those_of(learning, part), recipe.layer_rate_decay**above))
    inside = {id(p) for part, _ in parts for p in part}
    head = [p for p in learning if id(p) not in inside]
    return [(part, scale) for part, scale in [(head, 1.0), *parts] if part]


def _those_of(learning: Iterable[nn.Parameter], part: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    wanted = {id(p) for p in part}
    return [p for p in learning if id(p) in wanted]


def _groups(learning: list[nn.Parameter], scale: float, recipe: Recipe) -> list[dict[str, Any]]:
    """Return matrices with decay, and the rest without."""
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [{**group, RATE_SCALE: scale} for group in groups]
