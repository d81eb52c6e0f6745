from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn

from metaft.finetuning.head import fit_logistic, fit_probe_head


def _separable(classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % classes
    centres = 5 * rng.normal(size=(classes, 8))
    return (centres[labels] + rng.normal(size=(60, 8))).astype(np.float32), labels


def _predict(head: nn.Linear, features: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return head(torch.from_numpy(features)).argmax(1).numpy()


def test_the_head_starts_as_the_probe() -> None:
    for classes in (2, 3, 5):
        features, labels = _separable(classes)
        head = nn.Linear(8, classes)
        fit_probe_head(head, features, labels, is_regression=False)
        assert (_predict(head, features) == labels).mean() > 0.95


def test_a_class_without_rows_starts_as_improbable() -> None:
    features, labels = _separable(3)
    labels = np.where(labels == 2, 3, labels)  # Class 2 of 4 has no row.
    head = nn.Linear(8, 4)
    fit_probe_head(head, features, labels, is_regression=False)
    assert 2 not in _predict(head, features)
    assert (_predict(head, features) == labels).mean() > 0.95


def test_a_regression_starts_as_a_ridge() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(3, 2, size=(200, 4)).astype(np.float32)
    targets = features @ np.array([1.0, -2.0, 0.5, 0.0]) + 1.0
    targets = (targets - targets.mean()) / targets.std()
    head = nn.Linear(4, 1)
    fit_probe_head(head, features, targets, is_regression=True)
    with torch.no_grad():
        predicted = head(torch.from_numpy(features))[:, 0].numpy()
    assert np.corrcoef(predicted, targets)[0, 1] > 0.999


@pytest.mark.parametrize("classes", [2, 5])
def test_the_probe_is_that_of_scikit_learn(classes: int) -> None:
    features, labels = _separable(classes)
    scaled = (features - features.mean(0)) / features.std(0).astype(np.float64)
    expected = LogisticRegression(C=0.01, tol=1e-10, max_iter=10_000).fit(scaled, labels)
    weight, bias = fit_logistic(torch.from_numpy(scaled), torch.from_numpy(labels), classes)
    coefficients, intercepts = expected.coef_, expected.intercept_
    if classes == 2:
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    assert np.allclose(weight, coefficients, atol=1e-4 * np.abs(coefficients).max())
    assert np.allclose(bias, intercepts, atol=1e-4)


def test_the_ridge_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(1, 3, size=(50, 6)).astype(np.float32)
    targets = (features[:, 0] + rng.normal(size=50)).astype(np.float32)
    head = nn.Linear(6, 1)
    fit_probe_head(head, features, targets, is_regression=True)
    wide = features.astype(np.float64)
    scaled = (wide - wide.mean(0)) / (wide.std(0) + 1e-6)
    expected = Ridge(alpha=6.0).fit(scaled, targets).predict(scaled)
    with torch.no_grad():
        assert np.allclose(head(torch.from_numpy(features))[:, 0], expected, atol=1e-5)


def test_rows_of_one_class_alone_make_it_the_answer() -> None:
    features, _ = _separable(3)
    head = nn.Linear(8, 3)
    fit_probe_head(head, features, np.full(60, 1), is_regression=False)
    assert (_predict(head, features) == 1).all()
