"""Committee: three models of profiles that know the features, and the mean of what they say.

Each errs in its own way: the process is smooth in recipes and features, the trees find
thresholds, the neighbours follow single tasks. Their mean predicts profiles of left-out tasks
better than the process does (docs/prior.md). The process alone says how sure that is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaft.prior.described import Described
from metaft.prior.forest import ProfileForest
from metaft.prior.neighbours import Neighbours
from metaft.prior.places import Tuning
from metaft.prior.profiles import Profile, ProfileProcess
from metaft.prior.space import Space
from metaft.prior.table import TraceTable


@dataclass(frozen=True, eq=False)
class Committee:
    """The models, fitted to the same training blocks."""

    space: Space
    process: ProfileProcess
    forest: ProfileForest
    neighbours: Neighbours

    @classmethod
    def fit(
        cls, table: TraceTable, rows: Sequence[Described], tuning: Tuning | None = None
    ) -> Committee:
        """Fit every model to training blocks.

        Args:
            table: The training blocks alone.
            rows: Their descriptions, in the same order.
            tuning: Of the process; None finds it by the evidence of these blocks.
        """
        return cls(
            table.space,
            ProfileProcess.fit(table, rows, tuning),
            ProfileForest.fit(table, rows),
            Neighbours.fit(table, rows),
        )

    def predict(
        self, row: Described, functions: np.ndarray, nearby: Sequence[np.ndarray]
    ) -> Profile:
        """Say what is expected of the cells of a block; see `ProfileProcess.predict`."""
        profile = self.process.predict(row, functions, nearby)
        near = self.neighbours.predict(row)
        unknown = np.isnan(near)
        near[unknown] = profile.effects[unknown] + np.mean((near - profile.effects)[~unknown])
        opinions = [profile.effects, self.forest.predict(row, self.space.cells), near - near.mean()]
        return dataclasses.replace(profile, effects=np.mean(opinions, axis=0))
