"""ScoreModel: how well every cell is expected to do on a task, from its features.

Two opinions on the cells are kept apart, and blended only where leave-one-out allows it: the
*average*, what each cell gained over the training blocks that are most alike in backbone and
size, and the *surrogate*, a forest over features x recipe. Both are in points relative to
the block's own mean; a third model says at which level the scores of a task lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaft.features.extract import FEATURES
from metaft.prior.described import Described
from metaft.prior.encoding import encode_recipes
from metaft.prior.forest import Forest
from metaft.prior.level import LevelModel
from metaft.prior.scaling import Scaling
from metaft.prior.space import Space
from metaft.prior.table import Block, TraceTable

_PLATEAU_CELLS = 10
_SIZE_TOLERANCE = 0.5  # log2 of the ratio of two train sizes that count as alike
_ROUNDS = 50  # of alternating means, at most; complete tables need one


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
        forest: Standardised features and encoded recipe -> effect.
        plateau: Numbers of the cells that are best on average; the level is their mean score.
        level: Features -> score on the plateau.
    """

    space: Space
    blocks: tuple[Block, ...]
    effects: np.ndarray
    scaling: Scaling
    positions: np.ndarray
    forest: Forest
    plateau: np.ndarray
    level: LevelModel

    @classmethod
    def fit(cls, table: TraceTable, rows: Sequence[Described]) -> ScoreModel:
        """Fit to training blocks.

        Args:
            table: The training blocks alone.
            rows: Their descriptions, in the same order.
        """
        effects = effects_of(table.test)
        scaling = Scaling.fit(FEATURES, rows)
        positions = np.array([scaling.apply(row) for row in rows])
        plateau = _plateau_of(effects)
        levels = mean_known(table.test[:, plateau], 1)
        return cls(
            space=table.space,
            blocks=table.blocks,
            effects=effects,
            scaling=scaling,
            positions=positions,
            forest=_grow(table, effects, positions),
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
            mean = np.where(np.isnan(mean), self._surrogate_average(), mean)
        return mean

    def task_effects(self, row: Described) -> np.ndarray:
        """Return the effects `(tasks, cells)` on the most alike blocks of each task."""
        alike = self.alike(row.backbone, row.train_rows)
        owners = np.array([block.task for block in self.blocks])
        of_task = [self.effects[alike & (owners == task)] for task in np.unique(owners[alike])]
        return np.array([mean_known(effects, 0) for effects in of_task])

    def alike(self, backbone: str, train_rows: int) -> np.ndarray:
        """Return which training blocks `(blocks,)` are most alike in backbone and size."""
        same = self._of_backbone(backbone)
        sizes = np.array([block.train_rows for block in self.blocks])
        away = np.abs(np.log2(sizes / train_rows))
        alike: np.ndarray = same & (away <= away[same].min() + _SIZE_TOLERANCE)
        return alike

    def surrogate(self, row: Described) -> np.ndarray:
        """Return the effect `(cells,)` that the forest expects from the features."""
        return self._ask_forest(self.scaling.apply(row), row.train_rows)

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

    def _surrogate_average(self) -> np.ndarray:
        asked = zip(self.positions, self.blocks, strict=True)
        effects = [self._ask_forest(position, block.train_rows) for position, block in asked]
        return np.asarray(np.mean(effects, axis=0))

    def _ask_forest(self, position: np.ndarray, train_rows: int) -> np.ndarray:
        recipes = encode_recipes(self.space.cells, train_rows)
        return self.forest.predict(_inputs(recipes, position))


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


def _grow(table: TraceTable, effects: np.ndarray, positions: np.ndarray) -> Forest:
    """Fit the forest to every recorded cell of every block."""
    inputs, targets = [], []
    for row, block in enumerate(table.blocks):
        known = np.flatnonzero(np.isfinite(effects[row]))
        recipes = encode_recipes([table.space.cells[at] for at in known], block.train_rows)
        inputs.append(_inputs(recipes, positions[row]))
        targets.append(effects[row, known])
    return Forest.grow(np.concatenate(inputs), np.concatenate(targets))


def _inputs(recipes: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Put the features of one block beside each encoded recipe."""
    repeated = np.broadcast_to(position, (len(recipes), len(position)))
    return np.concatenate([recipes, repeated], axis=1)
