"""ScoreModel: how well every cell is expected to do on a task, from its features.

Three opinions on the cells are kept apart. The *average* is what each cell gained over the
training blocks that are most alike in backbone and size: the rival to beat. The *pooled*
average lends between recipes, sizes and backbones, but does not know one task from another:
the fallback. The *surrogate* also knows the features; it is blended with the fallback where
leave-one-out allows it. All are in points relative to a block's own mean; a further model says
at which level the scores of a task lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaft.prior.described import Described, feature_names
from metaft.prior.level import LevelModel
from metaft.prior.places import Tuning
from metaft.prior.profiles import Profile, ProfileProcess
from metaft.prior.scaling import Scaling
from metaft.prior.space import Space
from metaft.prior.table import Block, TraceTable

_PLATEAU_CELLS = 10
_SIZE_TOLERANCE = 0.5  # log2 of the ratio of two train sizes that count as alike
_ROUNDS = 50  # of alternating means, at most; complete tables need one


@dataclass(frozen=True, slots=True)
class Tunings:
    """What the two processes share; None is found by the evidence.

    Attributes:
        surrogate: Of the process that knows the features.
        pooled: Of the one that does not.
    """

    surrogate: Tuning | None = None
    pooled: Tuning | None = None


UNTUNED = Tunings()


@dataclass(frozen=True, eq=False)
class ScoreModel:
    """What the training blocks teach about scores.

    Attributes:
        space: The cells.
        blocks: The training blocks.
        effects: `(blocks, cells)` points relative to the block's own mean, NaN where nothing
            was recorded.
        scaling: Of the features.
        positions: `(blocks, features)` standardised features of the training blocks.
        process: Knows the features.
        pooling: Does not.
        plateau: Numbers of the cells that are best on average; the level is their mean score.
        level: Features -> score on the plateau.
    """

    space: Space
    blocks: tuple[Block, ...]
    effects: np.ndarray
    scaling: Scaling
    positions: np.ndarray
    process: ProfileProcess
    pooling: ProfileProcess
    plateau: np.ndarray
    level: LevelModel

    @classmethod
    def fit(
        cls, table: TraceTable, rows: Sequence[Described], tunings: Tunings = UNTUNED
    ) -> ScoreModel:
        """Fit to training blocks.

        Args:
            table: The training blocks alone.
            rows: Their descriptions, in the same order.
            tunings: Of processes fitted to some of these blocks, to take over.
        """
        effects = effects_of(table.test)
        scaling = Scaling.fit(feature_names(rows), rows)
        positions = np.array([scaling.apply(row) for row in rows])
        plateau = _plateau_of(effects)
        levels = mean_known(table.test[:, plateau], 1)
        return cls(
            space=table.space,
            blocks=table.blocks,
            effects=effects,
            scaling=scaling,
            positions=positions,
            process=ProfileProcess.fit(table, rows, tunings.surrogate),
            pooling=ProfileProcess.fit(table, rows, tunings.pooled, groups={}),
            plateau=plateau,
            level=LevelModel.fit(rows, positions, levels),
        )

    def average(self, row: Described) -> np.ndarray:
        """Return the mean effect `(cells,)` over the blocks most alike in backbone and size.

        A cell that none of these has is taken from the other blocks of the backbone, then
        from all. For one that was never recorded (a named recipe that the traces lack) the
        forest's mean over the training blocks stands in.
        """
        same = self._of_backbone(row.backbone)
        mean = mean_known(self.effects[self.alike(row.backbone, row.train_rows)], 0)
        for wider in (same, np.ones_like(same)):
            mean = np.where(np.isnan(mean), mean_known(self.effects[wider], 0), mean)
        if np.isnan(mean).any():
            pooled = self.pooled(row).effects
            offset = np.nanmean(mean - pooled)
            mean = np.where(np.isnan(mean), pooled + offset, mean)
        return mean

    def alike(self, backbone: str, train_rows: int) -> np.ndarray:
        """Return which training blocks `(blocks,)` are most alike in backbone and size."""
        same = self._of_backbone(backbone)
        sizes = np.array([block.train_rows for block in self.blocks])
        away = np.abs(np.log2(sizes / train_rows))
        alike: np.ndarray = same & (away <= away[same].min() + _SIZE_TOLERANCE)
        return alike

    def surrogate(self, row: Described) -> Profile:
        """Return what is expected of the cells, given the task's features."""
        return self.process.predict(row, self._functions(row))

    def pooled(self, row: Described) -> Profile:
        """Return what is expected of the cells on a task that is not known."""
        return self.pooling.predict(row, self._functions(row))

    @property
    def tunings(self) -> Tunings:
        """Return what was found to be shared."""
        return Tunings(self.process.tuning, self.pooling.tuning)

    def score_level(self, row: Described) -> float:
        """Return the expected score on the plateau, in points."""
        return self.level.predict(row, self.scaling.apply(row))

    def distances(self, row: Described) -> dict[str, float]:
        """Return training task -> root mean squared difference of standardised features."""
        differences = self.positions - self.scaling.apply(row)
        away = np.sqrt((differences**2).mean(1))
        nearest: dict[str, float] = {}
        for block, distance in zip(self.blocks, away.tolist(), strict=True):
            nearest[block.task] = min(distance, nearest.get(block.task, np.inf))
        return dict(sorted(nearest.items(), key=lambda item: item[1]))

    def _of_backbone(self, backbone: str) -> np.ndarray:
        """Return which blocks are of a backbone; all where none is."""
        same = np.array([block.backbone == backbone for block in self.blocks])
        return same if same.any() else np.ones_like(same)

    def _functions(self, row: Described) -> np.ndarray:
        return self.process.basis.expand(self.space.cells, row.train_rows)


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


def _plateau_of(effects: np.ndarray) -> np.ndarray:
    """Return the cells that are best on average, of those that every block has."""
    everywhere = np.isfinite(effects).all(0)
    mean = mean_known(effects, 0)
    ranked = np.where(everywhere if everywhere.any() else np.isfinite(mean), mean, -np.inf)
    count = min(_PLATEAU_CELLS, int(np.isfinite(ranked).sum()))
    return np.argsort(-ranked, kind="stable")[:count]
