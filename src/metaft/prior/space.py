"""Space: the recipes that a prior chooses among, each with its epoch budget (a *cell*)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from metaft.recipes import NAMED, PLAIN, Recipe

_DECIMALS = 6  # of a warm-up share, so that a run cut short equals the recipe it stands for


@dataclass(frozen=True, eq=False)
class Space:
    """Recipes with their epoch budgets.

    Attributes:
        cells: Every recorded recipe cut at every epoch, with seed 0; the named recipes are
            always among them.
        families: `(cells,)` number of what the recipe would be at any budget: cells of one
            family are the epochs of one curve.
    """

    cells: tuple[Recipe, ...]
    families: np.ndarray

    @classmethod
    def of(cls, recipes: Iterable[Recipe]) -> Space:
        """Return the space of some recorded recipes, in an order that is always the same."""
        cells = {cell for recipe in recipes for cell in cuts_of(recipe)} | set(NAMED.values())
        ordered = tuple(sorted(cells, key=lambda cell: repr(cell.to_mapping())))
        return cls(ordered, _families_of(ordered))

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def epochs(self) -> np.ndarray:
        """Return the epoch budget of each cell `(cells,)`."""
        return np.array([cell.epochs for cell in self.cells])

    @property
    def plain(self) -> int:
        """Return the number of the cell `plain`."""
        return self.cells.index(PLAIN)


@functools.lru_cache(maxsize=4096)  # every task has the same recipes
def cuts_of(recipe: Recipe) -> tuple[Recipe, ...]:
    """Return the recipes that the curve of one run answers for, with seed 0."""
    if recipe.depends_on_budget:
        return (without_seed(recipe),)
    cut = [recipe.truncated(epochs) for epochs in range(1, recipe.epochs + 1)]
    return tuple(without_seed(cell) for cell in cut)


def without_seed(recipe: Recipe) -> Recipe:
    """Return the recipe as a cell: with seed 0, and a warm-up share without rounding noise."""
    share = round(recipe.warmup_fraction, _DECIMALS)
    return dataclasses.replace(recipe, seed=0, warmup_fraction=share)


def _families_of(cells: Sequence[Recipe]) -> np.ndarray:
    """Number the cells by what is left of them when the budget is taken away."""
    numbers: dict[tuple[Recipe, float], int] = {}
    families = []
    for cell in cells:
        key = (cell, 0.0)
        if not cell.depends_on_budget:
            bare = dataclasses.replace(cell, epochs=1, warmup_fraction=0.0)
            warmup_epochs = cell.warmup_fraction * cell.epochs
            key = (bare, round(min(1.0, warmup_epochs), _DECIMALS - 2))
        families.append(numbers.setdefault(key, len(numbers)))
    return np.array(families)
