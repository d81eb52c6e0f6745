"""Scaling: features on a common scale, so that they can be compared and measured between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaft.prior.described import Described

_FARTHEST = 5.0  # deviations; one odd feature shall not decide how far a task is


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and deviation of every feature over the training blocks.

    Attributes:
        names: The features.
        means, deviations: `(names,)`; the deviation is 1 where a feature is constant.
    """

    names: tuple[str, ...]
    means: np.ndarray
    deviations: np.ndarray

    @classmethod
    def fit(cls, names: Sequence[str], rows: Sequence[Described]) -> Scaling:
        """Measure the features of the training blocks; unknown values do not count."""
        vectors = np.array([row.vector(names) for row in rows])
        known = np.ma.masked_invalid(vectors)
        means = known.mean(0).filled(0.0)
        deviations = known.std(0).filled(0.0)
        return cls(tuple(names), means, np.where(deviations > 1e-9, deviations, 1.0))

    def apply(self, row: Described) -> np.ndarray:
        """Return standardised features `(names,)`, within 5 deviations; an unknown one is 0."""
        scaled = (row.vector(self.names) - self.means) / self.deviations
        return np.clip(np.nan_to_num(scaled, nan=0.0), -_FARTHEST, _FARTHEST)
