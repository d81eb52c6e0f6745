"""RecipeBasis: a few smooth functions of a recipe, out of which profiles of scores are made.

Recipes that are alike score alike. A kernel over encoded recipes says how alike they are; its
leading directions are the basis. A task's whole profile of scores is then a dozen numbers, and
a recipe that was never recorded is no more than another point.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from metaft.prior.encoding import RECIPE_INPUTS, encode_recipes
from metaft.prior.space import Space
from metaft.recipes import Recipe

RANK = 12
"""Functions in the basis: chosen, not tuned. From 6 to 20 the regret moved within its noise."""

LENGTH_SCALES: dict[str, float] = {
    "log10_learning_rate": 1.0,
    "frozen_fraction": 0.8,
    "log2_epochs": 2.0,
    "log2_batch_size": 2.0,
    "weight_decay": 0.2,
    "dropout": 0.4,
    "is_linear_schedule": 2.0,
    "is_linear_probe": 2.0,
    "is_head_alone": 2.0,
    "log2_max_length": 2.0,
    "log10_distance": 1.2,
}
"""Input -> the difference over which scores forget each other; inputs not named do not count."""

_MOST_POINTS = 400  # of the space that the basis is built from
_COLUMNS = np.array([RECIPE_INPUTS.index(name) for name in LENGTH_SCALES])
_SCALES = np.array(list(LENGTH_SCALES.values()))


@dataclass(frozen=True, eq=False)
class RecipeBasis:
    """Leading directions of a Gaussian kernel over recipes.

    Attributes:
        points: `(points, inputs)` scaled recipes that the kernel compares with.
        mixing: `(points, rank)` how similarities to the points become basis functions.

    Source:
        Williams & Seeger (2001), Using the Nyström method to speed up kernel machines.
    """

    points: np.ndarray
    mixing: np.ndarray

    @classmethod
    def of(cls, space: Space, sizes: Iterable[int], *, rank: int = RANK) -> RecipeBasis:
        """Build the basis from the recipes alone, no score is looked at.

        Args:
            space: The cells.
            sizes: Training rows at which they were recorded.
            rank: Functions wanted; fewer where the recipes differ in fewer directions.
        """
        scaled = np.concatenate([_scaled(space.cells, rows) for rows in sorted(set(sizes))])
        points = np.unique(scaled, axis=0)
        points = points[:: -(-len(points) // _MOST_POINTS)]
        values, vectors = np.linalg.eigh(_kernel(points, points))
        kept = np.flatnonzero(values > 1e-8 * values[-1])[::-1][:rank]
        return cls(points, vectors[:, kept] / np.sqrt(values[kept]))

    def expand(self, recipes: Sequence[Recipe], train_rows: int) -> np.ndarray:
        """Return the basis functions of recipes `(recipes, rank)` on so many training rows."""
        similar = _kernel(_scaled(recipes, train_rows), self.points)
        functions: np.ndarray = similar @ self.mixing
        return functions


def _scaled(recipes: Sequence[Recipe], train_rows: int) -> np.ndarray:
    return encode_recipes(recipes, train_rows)[:, _COLUMNS] / _SCALES


def _kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    squared = ((one[:, None, :] - other[None, :, :]) ** 2).sum(-1)
    similarity: np.ndarray = np.exp(-0.5 * squared)
    return similarity
