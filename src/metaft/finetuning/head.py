"""How the head starts: LP-FT's linear probe on the frozen features."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn

_MAX_ITERATIONS = 200
_ABSENT_CLASS_BIAS = -10.0  # A class without a training row starts as improbable.


def fit_probe_head(
    head: nn.Linear, features: np.ndarray, labels: np.ndarray, *, is_regression: bool
) -> None:
    """Make a linear model on frozen features the head.

    Source: Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features (LP-FT).

    Args:
        head: `(outputs, width)`; overwritten.
        features: `(rows, width)` pooled features of the training rows.
        labels: `(rows,)` class numbers, or standardised targets.
        is_regression: Fit a ridge instead of a logistic regression.
    """
    features = features.astype(np.float64)
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    scaled = (features - mean) / deviation
    if is_regression:
        ridge = Ridge(alpha=float(features.shape[1])).fit(scaled, labels)
        weight, bias = ridge.coef_.reshape(1, -1), np.array([ridge.intercept_])
    else:
        weight, bias = _fit_logistic(scaled, labels, head.out_features)
    weight = weight / deviation
    bias = bias - weight @ mean
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias))


def _fit_logistic(
    scaled: np.ndarray, labels: np.ndarray, outputs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression: weight `(outputs, width)` and bias `(outputs,)`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Strong regularisation: features outnumber the rows of a small task.
        probe = LogisticRegression(C=0.01, max_iter=_MAX_ITERATIONS).fit(scaled, labels)
    coefficients, intercepts = probe.coef_, probe.intercept_
    if len(probe.classes_) == 2:  # One row of coefficients stands for both classes.
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weight = np.zeros((outputs, scaled.shape[1]))
    bias = np.full(outputs, _ABSENT_CLASS_BIAS)
    weight[probe.classes_], bias[probe.classes_] = coefficients, intercepts
    return weight, bias
