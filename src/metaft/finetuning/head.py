"""How the head starts: LP-FT's linear probe on the frozen features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_INVERSE_PENALTY = 0.01
"""Strong regularisation (scikit-learn's C): features outnumber the rows of a small task."""

_MAX_ITERATIONS = 200
_GRADIENT_TOLERANCE = 1e-6  # Of the mean loss; the weights are then right to some 1e-5.
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
    given = torch.from_numpy(features).double()
    mean, deviation = given.mean(0), given.std(0, correction=0) + 1e-6
    scaled = (given - mean) / deviation
    if is_regression:
        weight, bias = _fit_ridge(scaled, torch.from_numpy(labels).double())
    else:
        weight, bias = _fit_present_classes(scaled, torch.from_numpy(labels), head.out_features)
    weight = weight / deviation
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias - weight @ mean)


def fit_logistic(scaled: Tensor, classes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Fit a logistic regression with the penalty of scikit-learn's `LogisticRegression`.

    Two classes have one row of coefficients, which is penalised once and stands with either
    sign for both.

    Args:
        scaled: `(rows, width)` standardised features, float64.
        classes: `(rows,)` class numbers in [0, count), each of which occurs.
        count: Classes, >= 2.

    Returns:
        Weight `(count, width)` and bias `(count,)`.
    """
    rows, width = scaled.shape
    fitted = torch.zeros(1 if count == 2 else count, width + 1, dtype=torch.float64)
    fitted.requires_grad_(True)
    solver = torch.optim.LBFGS(
        [fitted],
        max_iter=_MAX_ITERATIONS,
        tolerance_grad=_GRADIENT_TOLERANCE,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        solver.zero_grad()
        weight, bias = _of_all_classes(fitted, count)
        misfit = functional.cross_entropy(scaled @ weight.T + bias, classes)
        value = misfit + fitted[:, :-1].square().sum() / (2 * _INVERSE_PENALTY * rows)
        value.backward()
        return value

    solver.step(loss)
    return _of_all_classes(fitted.detach(), count)


def _of_all_classes(fitted: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return weight and bias of every class."""
    every = torch.cat([-fitted, fitted]) / 2 if count == 2 else fitted
    return every[:, :-1], every[:, -1]


def _fit_present_classes(scaled: Tensor, labels: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
    """Fit the classes that occur: weight `(outputs, width)` and bias `(outputs,)`."""
    present, classes = labels.unique(return_inverse=True)
    weight = torch.zeros(outputs, scaled.shape[1], dtype=torch.float64)
    bias = torch.full((outputs,), _ABSENT_CLASS_BIAS, dtype=torch.float64)
    bias[present] = 0.0
    if len(present) > 1:
        weight[present], bias[present] = fit_logistic(scaled, classes, len(present))
    return weight, bias


def _fit_ridge(scaled: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Fit a ridge whose penalty is the width: weight `(1, width)` and bias `(1,)`."""
    width, mean = scaled.shape[1], scaled.mean(0)
    centred = scaled - mean
    gram = centred.T @ centred + width * torch.eye(width, dtype=torch.float64)
    weight = torch.linalg.solve(gram, centred.T @ (targets - targets.mean()))
    return weight[None], (targets.mean() - weight @ mean)[None]
