"""What the loss compares with: class numbers, or standardised targets."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metaft.recipes import Recipe
from metaft.tasks.task import Task


def scaled_targets(task: Task) -> Tensor:
    """Return the training rows' class numbers, or their targets with mean 0 and deviation 1."""
    labels = task.train.labels
    if not task.is_regression:
        return torch.from_numpy(labels.astype(np.int64))
    mean, deviation = target_scale(task)
    return torch.from_numpy(((labels - mean) / deviation).astype(np.float32))


def target_scale(task: Task) -> tuple[float, float]:
    """Return mean and deviation of a regression's training targets."""
    labels = task.train.labels
    return float(labels.mean()), float(labels.std()) or 1.0


def class_weights(task: Task, recipe: Recipe) -> Tensor | None:
    """Return what a row of each class counts `(classes,)`; None where all count alike.

    `balanced` is rows / (classes x rows of the class), as scikit-learn's `compute_class_weight`;
    classes without a training row are not counted, and count 1 themselves.
    """
    if recipe.class_weights == "equal":
        return None
    counts = np.bincount(task.train.labels, minlength=task.num_outputs)
    present = counts > 0
    weights = np.ones(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return torch.from_numpy(weights.astype(np.float32))
