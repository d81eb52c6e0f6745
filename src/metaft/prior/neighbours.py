"""Neighbours: the mean profile of the training blocks that are nearest by their features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaft.prior.averages import kept_effects, mean_known
from metaft.prior.described import Described, feature_names
from metaft.prior.scaling import Scaling
from metaft.prior.table import Block, TraceTable

NEIGHBOURS = 10


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The training blocks, where they lie, and what every cell gained there.

    Attributes:
        blocks: The training blocks.
        scaling: Of the features.
        positions: `(blocks, features)` standardised.
        effects: `(blocks, cells)` points relative to the block's mean, NaN where unknown.
    """

    blocks: tuple[Block, ...]
    scaling: Scaling
    positions: np.ndarray
    effects: np.ndarray

    @classmethod
    def fit(cls, table: TraceTable, rows: Sequence[Described]) -> Neighbours:
        """Locate the training blocks."""
        scaling = Scaling.fit(feature_names(rows), rows)
        positions = np.array([scaling.apply(row) for row in rows])
        return cls(table.blocks, scaling, positions, kept_effects(table))

    def predict(self, row: Described) -> np.ndarray:
        """Return the mean effects `(cells,)` over the nearest blocks, in points.

        Of the blocks of the same sort and backbone the ten nearest count; where there is none,
        of those of the same sort, then of all. A cell that none of the ten has is taken from
        all blocks; it is NaN where nobody has it.
        """
        candidates = self._candidates(row.block)
        away = ((self.positions[candidates] - self.scaling.apply(row)) ** 2).sum(1)
        nearest = candidates[np.argsort(away, kind="stable")[:NEIGHBOURS]]
        near, everywhere = mean_known(self.effects[nearest], 0), mean_known(self.effects, 0)
        return np.where(np.isnan(near), everywhere, near)

    def _candidates(self, asked: Block) -> np.ndarray:
        of_sort = np.array([block.sort == asked.sort for block in self.blocks])
        same = of_sort & [block.backbone == asked.backbone for block in self.blocks]
        for kept in (same, of_sort):
            if kept.any():
                return np.flatnonzero(kept)
        return np.arange(len(self.blocks))
