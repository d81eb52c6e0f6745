"""Fit: whether a search space goes with a task and a backbone."""

from __future__ import annotations

from metaft.backbones.backbone import Backbone
from metaft.errors import RecipeError
from metaft.finetuning.fitness import check_fit
from metaft.recipes import Recipe
from metaft.searching.space import Range, SearchSpace
from metaft.tasks.task import Task


def check_space(space: SearchSpace, base: Recipe, task: Task, backbone: Backbone) -> None:
    """Refuse values that fit neither task nor backbone, before any run.

    Raises:
        RecipeError: Naming the first of them.
    """
    check_fit(base, task, backbone)
    longest = _longest(space, base)
    for name, values in space.fields.items():
        for value in (values.low, values.high) if isinstance(values, Range) else values:
            try:
                recipe = (longest if name == "warmup_steps" else base).with_settings({name: value})
            except RecipeError:  # Perhaps it goes with another value of another field.
                continue
            check_fit(recipe, task, backbone)


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
