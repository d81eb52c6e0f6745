"""Versions: the training rows as a run with augmentation would see them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from metaft.backbones.backbone import Backbone, Examples
from metaft.errors import RecipeError
from metaft.finetuning.augmentation import Augmenter, build_augmenter
from metaft.finetuning.fitness import check_fit
from metaft.recipes import Recipe
from metaft.tasks.task import Task

TOGETHER = "together"
"""What all methods of a recipe are called, applied one after the other."""


@dataclass(frozen=True, eq=False)
class Varied:
    """The training rows of a task, and what changes them.

    Attributes:
        task: Of few rows.
        backbone: Pretrained.
        examples: The training rows, encoded and as they are.
        augmenters: Method -> what changes the rows by it alone; the last one by all of them,
            where there are several.
    """

    task: Task
    backbone: Backbone
    examples: Examples
    augmenters: dict[str, Augmenter]

    @classmethod
    def prepare(cls, task: Task, backbone: Backbone, recipe: Recipe) -> Varied:
        """Encode the rows, and build an augmenter for each method and for all together.

        Raises:
            RecipeError: If the recipe names no augmentation, or none for this task.
        """
        if not recipe.augmentations:
            raise RecipeError("augmentation is 'none': there is nothing to show", "Name some")
        check_fit(recipe, task, backbone)
        examples = backbone.encode(
            task.train, max_length=recipe.max_length, image_size=recipe.image_size
        )
        wanted = {name: name for name in recipe.augmentations}
        if len(wanted) > 1:
            wanted[TOGETHER] = recipe.augmentation
        augmenters = {}
        for name, methods in wanted.items():
            alone = dataclasses.replace(recipe, augmentation=methods)
            augmenter = build_augmenter(backbone, task.train, examples, alone)
            if augmenter is not None:
                augmenters[name] = augmenter
        return cls(task, backbone, examples, augmenters)

    def epochs_that_change(self, method: str, row: int, most: int = 50) -> Iterator[int]:
        """Yield epochs in which a method changes a row, alone or at the head of a batch."""
        pair = np.array([row, row])
        for epoch in range(1, most + 1):
            is_mixed = self.augmenters[method].mix(pair, epoch) is not None
            if is_mixed or self.is_changed(method, row, epoch):
                yield epoch

    def is_changed(self, method: str, row: int, epoch: int) -> bool:
        """Say whether a row is another one in an epoch, before it is mixed with others."""
        changed = self.augmenters[method].vary(np.array([row]), epoch)
        return any(
            not np.array_equal(np.asarray(changed.columns[name][0]), np.asarray(column[row]))
            for name, column in self.examples.columns.items()
        )
