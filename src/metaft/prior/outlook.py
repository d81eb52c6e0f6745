"""Outlook: everything that is expected of every cell on one task; OutcomeModels give it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metaft.prior.costs import CostModel
from metaft.prior.described import Described
from metaft.prior.failures import FailureModel
from metaft.prior.profiles import Profile
from metaft.prior.scores import UNTUNED, ScoreModel, Tunings
from metaft.prior.space import Space
from metaft.prior.table import TraceTable
from metaft.traces.trace import VALIDATION_ROWS


@dataclass(frozen=True, eq=False)
class Outlook:
    """What is expected of every cell on one task; arrays are `(cells,)`.

    Attributes:
        average: Points relative to the task's mean, as the alike training blocks had them.
        is_recorded: Whether some training block has the cell.
        pooled: What is expected of a task that is not known; recipes, sizes and backbones lend
            to each other.
        surrogate: What is expected of a task with these features.
        level: Expected score on the plateau, in points.
        plateau: Numbers of the cells that are best on average.
        training_seconds: Of the training steps alone.
        run_seconds: Of the whole run.
        peak_memory_mib: Of the run.
        failure: Probability that the run fails.
        distances: Training task -> distance, nearest first.
    """

    average: np.ndarray
    is_recorded: np.ndarray
    pooled: Profile
    surrogate: Profile
    level: float
    plateau: np.ndarray
    training_seconds: np.ndarray
    run_seconds: np.ndarray
    peak_memory_mib: np.ndarray
    failure: np.ndarray
    distances: Mapping[str, float]

    @property
    def distance(self) -> float:
        """Return the distance to the nearest training task."""
        return min(self.distances.values())

    def effects(self, weight: float) -> np.ndarray:
        """Return weight x surrogate + (1 - weight) x pooled, in points `(cells,)`."""
        return self.kept_effects(weight) - (
            weight * self.surrogate.excess + (1.0 - weight) * self.pooled.excess
        )

    def kept_effects(self, weight: float) -> np.ndarray:
        """Return the same without what is lost beyond the points that the models keep."""
        return weight * self.surrogate.effects + (1.0 - weight) * self.pooled.effects

    def scores(self, weight: float) -> np.ndarray:
        """Return expected scores `(cells,)` in points."""
        effects = self.effects(weight)
        return self.level + effects - effects[self.plateau].mean()

    def worth(self, weight: float) -> np.ndarray:
        """Return what a choice goes by `(cells,)`, in points.

        It is the effect at the worst learning rate within a quarter decade: a plateau is
        preferred to a peak, since where the best rate lies is known no better than that.
        """
        at_stake = weight * self.surrogate.at_stake + (1.0 - weight) * self.pooled.at_stake
        return self.effects(weight) - at_stake

    def doubts(self, cell: int, weight: float) -> np.ndarray:
        """Return the standard error `(cells,)` of each cell's mean lead over one of them."""
        spread = (self.surrogate if weight > 0.0 else self.pooled).spread
        doubts: np.ndarray = np.sqrt(((spread - spread[cell]) ** 2).sum(1))
        return doubts


@dataclass(frozen=True, eq=False)
class OutcomeModels:
    """The models of score, failure and cost, fitted to the same training blocks."""

    scores: ScoreModel
    failures: FailureModel
    costs: CostModel

    @classmethod
    def fit(
        cls, table: TraceTable, rows: Sequence[Described], tunings: Tunings = UNTUNED
    ) -> OutcomeModels:
        """Fit every model to the training blocks.

        Args:
            table: The training blocks alone.
            rows: Their descriptions, in the same order.
            tunings: Of models fitted to some of these blocks, to take over.
        """
        return cls(
            scores=ScoreModel.fit(table, rows, tunings),
            failures=FailureModel.fit(table, rows),
            costs=CostModel.fit(table, rows),
        )

    @property
    def space(self) -> Space:
        """Return the cells."""
        return self.scores.space

    def look_at(self, row: Described, validation_rows: int = VALIDATION_ROWS) -> Outlook:
        """Return what is expected on a task, where so many rows are scored after every epoch."""
        return Outlook(
            average=self.scores.average(row),
            is_recorded=np.isfinite(self.scores.averages.effects).any(0),
            pooled=self.scores.pooled(row),
            surrogate=self.scores.surrogate(row),
            level=self.scores.score_level(row),
            plateau=self.scores.plateau,
            training_seconds=self.costs.training_seconds(row),
            run_seconds=self.costs.run_seconds(row, validation_rows),
            peak_memory_mib=self.costs.peak_memory_mib(row),
            failure=self.failures.probabilities(row),
            distances=self.scores.distances(row),
        )
