"""FailureModel: how likely a run is to diverge, run out of memory or break off otherwise."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaft.prior.described import Described
from metaft.prior.encoding import encode_recipes
from metaft.prior.space import Space
from metaft.prior.table import TraceTable

_BACKBONE = ("backbone_depth", "backbone_log2_width")
_BLOCKS_KEPT = 1024  # a validation fits hundreds of times to the same blocks


@dataclass(frozen=True, eq=False)
class FailureModel:
    """A logistic regression over recipe and backbone, shrunk towards the overall rate.

    Attributes:
        space: The cells.
        means, deviations: `(inputs,)` scale of the inputs.
        weights: `(inputs,)`; zeros where no run failed, or every run did.
        intercept: Log odds at the mean of the inputs.
    """

    space: Space
    means: np.ndarray
    deviations: np.ndarray
    weights: np.ndarray
    intercept: float

    @classmethod
    def fit(cls, table: TraceTable, rows: Sequence[Described]) -> FailureModel:
        """Fit to every recorded cell of the training blocks."""
        inputs = np.concatenate([_inputs(table.space, row) for row in rows])
        failed = table.failed.ravel()
        known = np.isfinite(failed)
        inputs, failed = inputs[known], failed[known] > 0.5
        means, deviations = inputs.mean(0), inputs.std(0)
        deviations = np.where(deviations > 1e-9, deviations, 1.0)
        if failed.all() or not failed.any():
            rate = _rate_of(bool(failed.any()), _count_runs(table))
            weights, intercept = np.zeros(inputs.shape[1]), np.log(rate / (1 - rate))
        else:
            weights, intercept = _fit_logistic((inputs - means) / deviations, failed)
        return cls(table.space, means, deviations, weights, float(intercept))

    def probabilities(self, row: Described) -> np.ndarray:
        """Return the probability `(cells,)` that a run of each cell fails."""
        scaled = (_inputs(self.space, row) - self.means) / self.deviations
        log_odds = self.intercept + scaled @ self.weights
        probabilities: np.ndarray = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -30, 30)))
        return probabilities


def _count_runs(table: TraceTable) -> int:
    """Return the recorded curves; the cells of one curve are no evidence of their own."""
    families = table.space.families
    return sum(len(set(families[np.isfinite(failed)].tolist())) for failed in table.failed)


def _rate_of(failed: bool, runs: int) -> float:
    """Return Jeffreys' estimate of a rate of which all runs, or none, are an example.

    No failure among n runs does not make failing impossible.
    """
    return (runs * failed + 0.5) / (runs + 1.0)


@functools.lru_cache(maxsize=_BLOCKS_KEPT)
def _inputs(space: Space, row: Described) -> np.ndarray:
    """Return `(cells, inputs)`: the encoded recipes and the backbone's size."""
    recipes = encode_recipes(space.cells, row.train_rows)
    backbone = np.nan_to_num(row.vector(_BACKBONE), nan=0.0)
    return np.concatenate([recipes, np.tile(backbone, (len(recipes), 1))], axis=1)


def _fit_logistic(inputs: np.ndarray, failed: np.ndarray) -> tuple[np.ndarray, float]:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=0.1, max_iter=1000).fit(inputs, failed)
    return fitted.coef_[0], float(fitted.intercept_[0])
