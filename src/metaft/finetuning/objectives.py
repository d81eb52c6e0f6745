"""Objective: what the outputs of a head mean, how they learn, and how they are read and scored.

One kind of task, one objective; the loop knows nothing else of kinds.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from metaft.backbones.backbone import Backbone, Examples
from metaft.finetuning.device import Compute
from metaft.finetuning.feed import Feed
from metaft.finetuning.head import fit_probe_head
from metaft.finetuning.metrics import score_classes, score_values
from metaft.finetuning.model import Classifier
from metaft.finetuning.outcome import Scores
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.finetuning.targets import class_weights, scaled_targets, target_scale
from metaft.recipes import Recipe
from metaft.tasks.task import Split, Task

Answer = TypeVar("Answer")
"""What a model says of one row."""


class Objective(ABC, Generic[Answer]):
    """What a run on a task learns.

    Args:
        task: Sub-sampled already.
        recipe: Says how it is learned.

    Attributes:
        guess_loss: Loss of answering without looking.
    """

    def __init__(self, task: Task, recipe: Recipe) -> None:
        self.task = task
        self.recipe = recipe

    def at(self, recipe: Recipe) -> Self:
        """Return the same, prepared as it is, for a recipe with other rates."""
        other = copy.copy(self)
        other.recipe = recipe
        return other

    @property
    def guess_loss(self) -> float:
        """Loss of a uniform guess."""
        return math.log(self.task.num_outputs)

    def new_model(self, backbone: Backbone) -> Classifier:
        """Put a random head on a backbone."""
        return Classifier(backbone, self.task.num_outputs, self.recipe.dropout)

    @abstractmethod
    def fit_head(self, model: Classifier, cache: PrefixCache, compute: Compute) -> None:
        """Make a linear probe on the frozen features the head."""

    @abstractmethod
    def prepare(self, examples: Examples, compute: Compute) -> None:
        """Put what the training rows are compared with where the run computes.

        Args:
            examples: The training rows, encoded.
            compute: Of the run.
        """

    @abstractmethod
    def loss(self, model: Classifier, logits: Tensor, feed: Feed, rows: np.ndarray) -> Tensor:
        """Return the mean loss of training rows; `logits` are what the model gave for them."""

    @abstractmethod
    def read(
        self, model: Classifier, logits: Tensor, examples: Examples, rows: np.ndarray, split: Split
    ) -> Sequence[Answer]:
        """Read what the model says of some rows, one answer each."""

    @abstractmethod
    def score(self, answers: Sequence[Answer], split: Split, rows: np.ndarray) -> Scores:
        """Score the answers to some rows of a split.

        Args:
            answers: To all encoded rows of the split, in their order.
            split: With what is right.
            rows: Row numbers within the split.
        """

    def finish(self, model: Classifier) -> None:
        """Let a trained model answer in the task's own units."""


class RowObjective(Objective[np.ndarray]):
    """One class or one number for a whole row."""

    def __init__(self, task: Task, recipe: Recipe) -> None:
        super().__init__(task, recipe)
        self._targets = scaled_targets(task)
        self._class_weights = class_weights(task, recipe)

    @property
    def guess_loss(self) -> float:
        """Loss of a uniform guess, or of the mean target."""
        return 1.0 if self.task.is_regression else super().guess_loss

    def fit_head(self, model: Classifier, cache: PrefixCache, compute: Compute) -> None:
        """Fit a logistic (ridge) regression; see `fit_probe_head`."""
        features = cache.features("train", self.recipe, compute).numpy()
        targets = scaled_targets(self.task).numpy()
        fit_probe_head(model.head, features, targets, is_regression=self.task.is_regression)

    def prepare(self, examples: Examples, compute: Compute) -> None:
        """Move the targets; see `Objective.prepare`."""
        self._targets = self._targets.to(compute.device)
        if self._class_weights is not None:
            self._class_weights = self._class_weights.to(compute.device)

    def loss(self, model: Classifier, logits: Tensor, feed: Feed, rows: np.ndarray) -> Tensor:
        """Return the mean loss; mixed rows have the labels of both, by their shares."""
        wanted = self._targets[torch.from_numpy(rows).to(self._targets.device)]
        loss = self._loss_of(logits, wanted)
        mixing = feed.mixing(rows)
        if mixing is None:
            return loss
        others = wanted[torch.from_numpy(mixing.partner).to(wanted.device)]
        return mixing.share * loss + (1 - mixing.share) * self._loss_of(logits, others)

    def read(
        self, model: Classifier, logits: Tensor, examples: Examples, rows: np.ndarray, split: Split
    ) -> list[np.ndarray]:
        """Return the logits themselves `(outputs,)` of each row."""
        return list(logits.float().cpu().numpy())

    def score(self, answers: Sequence[np.ndarray], split: Split, rows: np.ndarray) -> Scores:
        """Score classes, or values in the task's units; see `metrics`."""
        outputs, labels = np.stack([answers[row] for row in rows]), split.labels[rows]
        if not self.task.is_regression:
            return score_classes(outputs, labels)
        mean, deviation = target_scale(self.task)
        return score_values(outputs[:, 0] * deviation + mean, labels)

    @torch.no_grad()
    def finish(self, model: Classifier) -> None:
        """Fold the scaling of a regression's targets into the head."""
        if self.task.is_regression:
            mean, deviation = target_scale(self.task)
            model.head.weight *= deviation
            model.head.bias.copy_(model.head.bias * deviation + mean)

    def _loss_of(self, logits: Tensor, wanted: Tensor) -> Tensor:
        return loss_of(logits, wanted, self.recipe.label_smoothing, self._class_weights)


def objective_of(task: Task, recipe: Recipe) -> Objective[Any]:
    """Return what a run of a recipe on a task learns."""
    if task.kind == "ner":
        from metaft.finetuning.tagging import TagObjective

        return TagObjective(task, recipe)
    if task.kind == "qa":
        from metaft.finetuning.answering import AnswerObjective

        return AnswerObjective(task, recipe)
    return RowObjective(task, recipe)


def loss_of(
    logits: Tensor,
    targets: Tensor,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Return the mean loss of logits `(rows, outputs)`; a squared one where targets are values.

    Args:
        logits: On any device.
        targets: `(rows,)` class numbers, or values.
        label_smoothing: Share of each label that is spread over all classes.
        class_weights: `(classes,)` what a row of each class counts in the mean; None for alike.
    """
    if targets.is_floating_point():
        return functional.mse_loss(logits.float()[:, 0], targets)
    return functional.cross_entropy(
        logits.float(), targets, weight=class_weights, label_smoothing=label_smoothing
    )
