"""Averages: what the recipes gained on the training blocks, with nothing modelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from metaft.prior.table import Block, TraceTable

_SIZE_TOLERANCE = 0.5  # log2 of the ratio of two train sizes that count as alike
_USUAL_SHARE = 0.5  # of the blocks, that must have a cell for its mean to be one
_ROUNDS = 50  # of alternating means, at most; complete tables need one


@dataclass(frozen=True, eq=False)
class Averages:
    """The effects of the cells on the training blocks.

    Attributes:
        blocks: The training blocks.
        effects: `(blocks, cells)` points relative to the block's own mean, NaN where nothing
            was recorded.
    """

    blocks: tuple[Block, ...]
    effects: np.ndarray

    @classmethod
    def of(cls, table: TraceTable) -> Averages:
        """Centre the scores of the training blocks; each sort has a profile of its own."""
        effects = np.full_like(table.test, np.nan)
        sorts = np.array([block.sort for block in table.blocks])
        for sort in np.unique(sorts):
            effects[sorts == sort] = effects_of(table.test[sorts == sort])
        return cls(table.blocks, effects)

    def over_alike(self, asked: Block) -> np.ndarray:
        """Return the mean effect `(cells,)` over the blocks most like one that is asked about.

        A cell that none of these has is taken from the other blocks of its sort and backbone,
        then from all; it is NaN where nobody has it.
        """
        same = self._of_sort_and_backbone(asked)
        mean = mean_known(self.effects[self.alike(asked)], 0)
        for wider in (same, np.ones_like(same)):
            mean = np.where(np.isnan(mean), mean_known(self.effects[wider], 0), mean)
        return mean

    def alike(self, asked: Block) -> np.ndarray:
        """Return which training blocks `(blocks,)` are most alike in sort, backbone and size."""
        same = self._of_sort_and_backbone(asked)
        sizes = np.array([block.train_rows for block in self.blocks])
        away = np.abs(np.log2(sizes / asked.train_rows))
        alike: np.ndarray = same & (away <= away[same].min() + _SIZE_TOLERANCE)
        return alike

    def usual_at(self, asked: Block) -> np.ndarray:
        """Return which cells `(cells,)` at least half of the blocks most alike have.

        What a search tried on one task is not good on average for having been good there.
        """
        usual: np.ndarray = np.isfinite(self.effects[self.alike(asked)]).mean(0) >= _USUAL_SHARE
        return usual

    def _of_sort_and_backbone(self, asked: Block) -> np.ndarray:
        """Return which blocks share both with one; where none does, the sort counts for more."""
        of_sort = np.array([block.sort == asked.sort for block in self.blocks])
        of_sort = of_sort if of_sort.any() else np.ones_like(of_sort)
        same = of_sort & np.array([block.backbone == asked.backbone for block in self.blocks])
        return same if same.any() else of_sort


def stronger_average(means: Mapping[str, Mapping[str, float]]) -> str | None:
    """Return which best-average recipe does better, that of the block's like or of all.

    Args:
        means: Method -> figure -> its mean, `points` among them.
    """
    known = [name for name in ("best-average", "best-average-of-all") if name in means]
    return max(known, key=lambda name: means[name]["points"], default=None)


def effects_of(points: np.ndarray) -> np.ndarray:
    """Return scores relative to the block's own mean over the shared cells.

    Cells that some blocks lack must not shift those blocks' means, so block and cell means
    are found together, by alternating; where nothing is missing that is the plain mean.

    Args:
        points: `(blocks, cells)`, NaN where nothing was recorded.
    """
    centres = mean_known(points, 1)
    for _ in range(_ROUNDS):
        profile = mean_known(points - centres[:, None], 0)
        moved = mean_known(points - profile, 1)
        if np.allclose(moved, centres, rtol=0, atol=1e-9):
            break
        centres = moved
    return points - centres[:, None]


def mean_known(values: np.ndarray, axis: int) -> np.ndarray:
    """Return means over what is not NaN; NaN where nothing is known."""
    means: np.ndarray = np.ma.masked_invalid(values).mean(axis).filled(np.nan)
    return means
