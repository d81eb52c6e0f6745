"""ScoreModel: how well every cell is expected to do on a task, from its features.

Three opinions on the cells are kept apart. The *average* is what each cell gained over the
training blocks that are most alike in backbone and size: the rival to beat. The *pooled*
average lends between recipes, sizes and backbones, but does not know one task from another:
the fallback. The *surrogate* also knows the features; it is blended with the fallback where
leave-one-out allows it. All are in points relative to a block's own mean; a further model says
at which level the scores of a task lie.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metaft.prior.averages import Averages, mean_known
from metaft.prior.described import Described, feature_names
from metaft.prior.level import LevelModel
from metaft.prior.places import Tuning
from metaft.prior.profiles import Profile, ProfileProcess
from metaft.prior.scaling import Scaling
from metaft.prior.space import Space
from metaft.prior.table import TraceTable
from metaft.recipes import Recipe

_PLATEAU_CELLS = 10
_RATE_OFF_DECADES = (-0.25, -0.125, 0.125, 0.25)  # of the learning rate


@dataclass(frozen=True, slots=True)
class Tunings:
    """What the two processes share; None is found by the evidence.

    Attributes:
        surrogate: Of the process that knows the features.
        pooled: Of the one that does not.
    """

    surrogate: Tuning | None = None
    pooled: Tuning | None = None

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Tunings:
        """Read what `dataclasses.asdict` made of tunings that were found."""
        return cls(Tuning(**values["surrogate"]), Tuning(**values["pooled"]))


UNTUNED = Tunings()


@dataclass(frozen=True, eq=False)
class ScoreModel:
    """What the training blocks teach about scores.

    Attributes:
        space: The cells.
        averages: What was recorded.
        scaling: Of the features.
        positions: `(blocks, features)` standardised features of the training blocks.
        process: Knows the features.
        pooling: Does not.
        plateau: Numbers of the cells that are best on average; the level is their mean score.
        level: Features -> score on the plateau.
    """

    space: Space
    averages: Averages
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
        averages = Averages.of(table)
        scaling = Scaling.fit(feature_names(rows), rows)
        positions = np.array([scaling.apply(row) for row in rows])
        plateau = _plateau_of(averages.effects)
        levels = mean_known(table.test[:, plateau], 1)
        told = np.flatnonzero(
            np.isfinite(levels)
        ).tolist()  # not those that have no cell of the plateau
        return cls(
            space=table.space,
            averages=averages,
            scaling=scaling,
            positions=positions,
            process=ProfileProcess.fit(table, rows, tunings.surrogate),
            pooling=ProfileProcess.fit(table, rows, tunings.pooled, groups={}),
            plateau=plateau,
            level=LevelModel.fit([rows[at] for at in told], levels[told]),
        )

    def average(self, row: Described) -> np.ndarray:
        """Return the mean effect `(cells,)` over the blocks most like the one described.

        For a cell that was never recorded (a named recipe that the traces lack) what is pooled
        stands in.
        """
        mean = self.averages.over_alike(row.block)
        if np.isnan(mean).any():
            pooled = self.pooled(row).effects
            mean = np.where(np.isnan(mean), pooled + np.nanmean(mean - pooled), mean)
        return mean

    def surrogate(self, row: Described) -> Profile:
        """Return what is expected of the cells, given the task's features."""
        return self.process.predict(row, self._functions(row), self._off_functions(row))

    def pooled(self, row: Described) -> Profile:
        """Return what is expected of the cells on a task that is not known."""
        return self.pooling.predict(row, self._functions(row), self._off_functions(row))

    @property
    def tunings(self) -> Tunings:
        """Return what was found to be shared."""
        return Tunings(self.process.tuning, self.pooling.tuning)

    def score_level(self, row: Described) -> float:
        """Return the expected score on the plateau, in points."""
        return self.level.predict(row)

    def distances(self, row: Described) -> dict[str, float]:
        """Return training task -> root mean squared difference of standardised features."""
        differences = self.positions - self.scaling.apply(row)
        away = np.sqrt((differences**2).mean(1))
        nearest: dict[str, float] = {}
        for block, distance in zip(self.averages.blocks, away.tolist(), strict=True):
            nearest[block.task] = min(distance, nearest.get(block.task, np.inf))
        return dict(sorted(nearest.items(), key=lambda item: item[1]))

    def _functions(self, row: Described) -> np.ndarray:
        return self.process.basis.expand(self.space.cells, row.train_rows)

    def _off_functions(self, row: Described) -> list[np.ndarray]:
        """Return the functions of all cells with learning rates that are a little off."""
        return [
            self.process.basis.expand(_off(self.space.cells, decades), row.train_rows)
            for decades in _RATE_OFF_DECADES
        ]


def _off(cells: Sequence[Recipe], decades: float) -> list[Recipe]:
    lowest, highest = 1e-10, 1.0  # that a recipe may have
    rates = [min(highest, max(lowest, cell.learning_rate * 10.0**decades)) for cell in cells]
    return [
        dataclasses.replace(cell, learning_rate=rate)
        for cell, rate in zip(cells, rates, strict=True)
    ]


def _plateau_of(effects: np.ndarray) -> np.ndarray:
    """Return the cells that are best on average, of those that every block has."""
    everywhere = np.isfinite(effects).all(0)
    mean = mean_known(effects, 0)
    ranked = np.where(everywhere if everywhere.any() else np.isfinite(mean), mean, -np.inf)
    count = min(_PLATEAU_CELLS, int(np.isfinite(ranked).sum()))
    return np.argsort(-ranked, kind="stable")[:count]
