"""A ridge regression as plain arrays; the penalty is chosen by leaving one row out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # as a share of the rows


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
        """Fit to standardised inputs `(rows, inputs)` and targets `(rows,)`."""
        mean = float(targets.mean())
        centre = inputs.mean(0)
        penalties = [share * len(targets) for share in _PENALTIES]
        best = min(penalties, key=lambda p: _left_out_error(inputs - centre, targets - mean, p))
        weights = _solve(inputs - centre, targets - mean, best)
        return cls(weights, mean - float(centre @ weights))

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Return predictions for inputs `(..., inputs)`."""
        prediction: np.ndarray = self.intercept + inputs @ self.weights
        return prediction


def _solve(inputs: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    gram = inputs.T @ inputs + penalty * np.eye(inputs.shape[1])
    return np.linalg.solve(gram, inputs.T @ targets)


def _left_out_error(inputs: np.ndarray, targets: np.ndarray, penalty: float) -> float:
    """Return the mean squared error with each row left out in turn, in closed form."""
    gram = inputs.T @ inputs + penalty * np.eye(inputs.shape[1])
    hat = inputs @ np.linalg.solve(gram, inputs.T) + 1.0 / len(inputs)
    residuals = targets - hat @ targets
    return float(np.mean((residuals / np.maximum(1.0 - np.diag(hat), 1e-6)) ** 2))
