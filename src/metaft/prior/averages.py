"""Averages: what the recipes gained on the training blocks, with nothing modelled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metaft.prior.table import Block, TraceTable

_SIZE_TOLERANCE = 0.5  # log2 of the ratio of two train sizes that count as alike
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
        """Centre the scores of the training blocks."""
        return cls(table.blocks, effects_of(table.test))

    def over_alike(self, backbone: str, train_rows: int) -> np.ndarray:
        """Return the mean effect `(cells,)` over the blocks most alike in backbone and size.

        A cell that none of these has is taken from the other blocks of the backbone, then
        from all; it is NaN where nobody has it.
        """
        same = self._of_backbone(backbone)
        mean = mean_known(self.effects[self.alike(backbone, train_rows)], 0)
        for wider in (same, np.ones_like(same)):
            mean = np.where(np.isnan(mean), mean_known(self.effects[wider], 0), mean)
        return mean

    def alike(self, backbone: str, train_rows: int) -> np.ndarray:
        """Return which training blocks `(blocks,)` are most alike in backbone and size."""
        same = self._of_backbone(backbone)
        sizes = np.array([block.train_rows for block in self.blocks])
        away = np.abs(np.log2(sizes / train_rows))
        alike: np.ndarray = same & (away <= away[same].min() + _SIZE_TOLERANCE)
        return alike

    def _of_backbone(self, backbone: str) -> np.ndarray:
        """Return which blocks are of a backbone; all where none is."""
        same = np.array([block.backbone == backbone for block in self.blocks])
        return same if same.any() else np.ones_like(same)


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
