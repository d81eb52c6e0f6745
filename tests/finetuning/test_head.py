from __future__ import annotations

import numpy as np
import torch
from torch import nn

from metaft.finetuning.head import fit_probe_head


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
