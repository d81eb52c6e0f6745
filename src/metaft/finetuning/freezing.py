"""Which parts of a backbone are frozen in which epoch of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from metaft.recipes import Recipe


@dataclass(frozen=True, slots=True)
class FrozenParts:
    """What does not learn.

    Attributes:
        blocks: Numbers of the frozen blocks, 0 for the lowest.
        stem: Whether the embeddings (or the convolution stem) are frozen.
    """

    blocks: frozenset[int]
    stem: bool

    @property
    def prefix(self) -> int:
        """Return how many of the first blocks give the same states in every step."""
        if not self.stem:
            return 0
        first_learning = (at for at in range(len(self.blocks) + 1) if at not in self.blocks)
        return next(first_learning)


def frozen_parts(recipe: Recipe, depth: int, epoch: int) -> FrozenParts:
    """Return what is frozen in an epoch.

    Args:
        recipe: Names the pattern and the share.
        depth: Blocks of the backbone.
        epoch: 1 for the first.
    """
    count = round(recipe.frozen_fraction * depth)
    if count == depth:
        return FrozenParts(frozenset(range(depth)), stem=True)
    if recipe.freezing == "last":
        return FrozenParts(frozenset(range(depth - count, depth)), stem=False)
    if recipe.freezing == "alternate":
        return FrozenParts(_spread(recipe.frozen_fraction, depth), stem=True)
    if recipe.freezing == "embeddings":
        return FrozenParts(frozenset(), stem=True)
    if recipe.freezing == "gradual":
        thawed = (epoch - 1) // recipe.unfreeze_epochs
        blocks = frozenset(range(max(count, depth - thawed)))
        # The embeddings are the last to thaw, and stay frozen below frozen blocks.
        return FrozenParts(blocks, stem=recipe.frozen_fraction > 0 or thawed <= depth)
    return FrozenParts(frozenset(range(count)), stem=recipe.frozen_fraction > 0)


def learning_parts(recipe: Recipe, depth: int) -> FrozenParts:
    """Return what is frozen in the last epoch: all else learns at some time."""
    return frozen_parts(recipe, depth, recipe.epochs)


def prefixes_of(recipe: Recipe, depth: int) -> set[int]:
    """Return the frozen prefixes of all epochs of a run; 0 is not among them."""
    if recipe.freezing != "gradual":
        return {frozen_parts(recipe, depth, 1).prefix} - {0}
    return {frozen_parts(recipe, depth, epoch).prefix for epoch in range(1, recipe.epochs + 1)} - {
        0
    }


def _spread(share: float, depth: int) -> frozenset[int]:
    """Spread a share of the blocks evenly; the first one is among them."""
    return frozenset(
        at for at in range(depth) if math.ceil((at + 1) * share) > math.ceil(at * share)
    )
