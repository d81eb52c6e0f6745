"""Augmentation: training rows that are changed anew in every epoch, always in the same way.

What happens to a row depends on the seed, the epoch and the row alone, so a run can be repeated
whatever the order of its rows. The rows that come out are never kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from metaft.backbones.backbone import Backbone, Batch, Examples
from metaft.recipes import Recipe
from metaft.tasks.task import Split

CHANCE = 0.5
"""Chance that a method changes a row in an epoch, so that rows are seen unchanged, too."""


@dataclass(frozen=True, eq=False)
class Mixing:
    """How the rows of a batch are mixed with each other.

    Attributes:
        partner: `(rows,)` place in the batch of the row that each is mixed with.
        share: Of each row's own label, in [0, 1].
        box: Rows and columns `(top, bottom, left, right)` that come from the partner; None
            where all pixels are blended by the share.
    """

    partner: np.ndarray
    share: float
    box: tuple[int, int, int, int] | None

    def blend(self, batch: Batch) -> Batch:
        """Return the batch with its images mixed."""
        pixels = batch["pixels"]  # (rows, 3, side, side)
        others = pixels[self.partner]
        if self.box is None:
            return {**batch, "pixels": self.share * pixels + (1 - self.share) * others}
        top, bottom, left, right = self.box
        mixed = pixels.clone()
        mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
        return {**batch, "pixels": mixed}


class Augmenter(Protocol):
    """Changes the rows of one split."""

    @property
    def added(self) -> Examples:
        """Return tokens that changed rows may hold beside their own, as rows of a vocabulary."""

    def vary(self, rows: np.ndarray, epoch: int) -> Examples:
        """Return some rows as they are in an epoch."""

    def mix(self, rows: np.ndarray, epoch: int) -> Mixing | None:
        """Say how the rows of a batch are mixed in an epoch; None where they are not."""


def build_augmenter(
    backbone: Backbone, split: Split, examples: Examples, recipe: Recipe
) -> Augmenter | None:
    """Return what changes the rows of a split as a recipe wants it; None where it wants nothing.

    Args:
        backbone: Pretrained.
        split: The training rows.
        examples: The same, encoded.
        recipe: Names the methods.

    Raises:
        BackboneError: If the texts are not at hand, as in a pack.
    """
    if not recipe.augmentations:
        return None
    if backbone.modality == "image":
        from metaft.finetuning.image_augmentation import ImageAugmenter

        return ImageAugmenter(examples, recipe)
    from metaft.finetuning.text_augmentation import TextAugmenter

    return TextAugmenter(backbone, split, examples, recipe)  # type: ignore[arg-type]


def generator_of(recipe: Recipe, epoch: int, row: int) -> np.random.Generator:
    """Return the random numbers of one row in one epoch of a run."""
    return np.random.default_rng([recipe.seed, epoch, row])
