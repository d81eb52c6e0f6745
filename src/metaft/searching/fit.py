"""Fit: whether a search space goes with a task, a backbone and this machine."""

from __future__ import annotations

from metaft.backbones.backbone import Backbone
from metaft.errors import RecipeError
from metaft.finetuning.device import Device, resolve_compute
from metaft.finetuning.fitness import check_fit
from metaft.recipes import Recipe
from metaft.searching.space import Range, SearchSpace
from metaft.tasks.task import Task


def check_space(
    space: SearchSpace, base: Recipe, task: Task, backbone: Backbone, device: Device = "auto"
) -> None:
    """Refuse values that do not fit task, backbone and device, before any run.

    Raises:
        RecipeError: Naming the first of them.
    """
    _check(base, task, backbone, device)
    longest = _longest(space, base)
    for name, values in space.fields.items():
        for value in (values.low, values.high) if isinstance(values, Range) else values:
            try:
                recipe = (longest if name == "warmup_steps" else base).with_settings({name: value})
            except RecipeError:  # Perhaps it goes with another value of another field.
                continue
            _check(recipe, task, backbone, device)


def _check(recipe: Recipe, task: Task, backbone: Backbone, device: Device) -> None:
    check_fit(recipe, task, backbone)
    resolve_compute(device, recipe.precision)


def _longest(space: SearchSpace, base: Recipe) -> Recipe:
    """Return a recipe with the most steps that the space allows: a warm-up must fit into them."""
    picked = {}
    for name, pick in (("epochs", max), ("batch_size", min)):
        values = space.fields.get(name, ())
        picked[name] = pick(
            (values.low, values.high) if isinstance(values, Range) else values,
            default=getattr(base, name),
        )
    return base.with_settings(picked)
