"""A ridge regression as plain arrays, for a few rows; it believes no more than they show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # as a share of the rows


@dataclass(frozen=True, eq=False)
class Ridge:
    """A linear model: `intercept + inputs @ weights`, both for standardised inputs.

    Attributes:
        weights: `(inputs,)`.
        intercept: Prediction at the mean of the inputs.
    """

    weights: np.ndarray
    intercept: float

    @classmethod
    def fit(cls, inputs: np.ndarray, targets: np.ndarray) -> Ridge:
        """Fit to standardised inputs `(rows, inputs)` and targets `(rows,)`.

        The penalty is the largest one whose left-out error is within one standard error of
        the smallest: with a dozen rows, the smallest itself is often luck.

        Source:
            Breiman et al. (1984), Classification and Regression Trees, section 3.4.3.
        """
        centre, mean = inputs.mean(0), float(targets.mean())
        inputs, targets = inputs - centre, targets - mean
        penalties = [share * len(targets) for share in _PENALTIES]
        errors = [left_out_errors(inputs, targets, penalty) for penalty in penalties]
        best = min(errors, key=lambda error: float(error.mean()))
        enough = best.mean() + best.std() / math.sqrt(len(best))
        penalty = max(p for p, e in zip(penalties, errors, strict=True) if e.mean() <= enough)
        weights = _solve(inputs, targets, penalty)
        return cls(weights, mean - float(centre @ weights))

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Return predictions for inputs `(..., inputs)`."""
        prediction: np.ndarray = self.intercept + inputs @ self.weights
        return prediction


def _solve(inputs: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    gram = inputs.T @ inputs + penalty * np.eye(inputs.shape[1])
    return np.linalg.solve(gram, inputs.T @ targets)


def left_out_errors(inputs: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """Return the squared error `(rows,)` of each row, left out in turn, in closed form.

    Args:
        inputs: `(rows, inputs)`, centred.
        targets: `(rows,)`, centred.
        penalty: Ridge penalty, > 0.
    """
    gram = inputs.T @ inputs + penalty * np.eye(inputs.shape[1])
    hat = inputs @ np.linalg.solve(gram, inputs.T) + 1.0 / len(inputs)
    residuals = targets - hat @ targets
    errors: np.ndarray = (residuals / np.maximum(1.0 - np.diag(hat), 1e-6)) ** 2
    return errors
