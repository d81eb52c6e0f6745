"""Adapting to a few rows from any start, with looks at the test rows on the way.

Unlike `fine_tune`, nothing is chosen: there are no validation rows, and the last step counts.
What is frozen was computed once for all starts, which therefore must not differ there.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from metaft.backbones.backbone import Backbone
from metaft.errors import RecipeError
from metaft.finetuning.batches import evaluation_batches, training_batches
from metaft.finetuning.device import Compute, resolve_compute
from metaft.finetuning.feed import open_feed
from metaft.finetuning.freezing import frozen_parts
from metaft.finetuning.head import fit_probe_head
from metaft.finetuning.loop import seeded
from metaft.finetuning.metrics import score_classes
from metaft.finetuning.model import Classifier
from metaft.finetuning.objectives import RowObjective
from metaft.finetuning.optimizers import build_optimizer
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.finetuning.stepper import Stepper
from metaft.metalearning.heads import prototype_head, zero_head
from metaft.recipes import Recipe
from metaft.tasks.task import Task

HeadStart = Literal["zero", "prototype", "linear_probe"]


@dataclass(frozen=True, slots=True)
class Adapted:
    """What an adaptation gave.

    Attributes:
        accuracy: On all test rows after the last step, in [0, 1].
        curve: (steps taken, accuracy on the first test rows) for every look.
        cpu_seconds: Processor time of adapting, without any look at test rows.
    """

    accuracy: float
    curve: tuple[tuple[int, float], ...]
    cpu_seconds: float


class FewShotProblem:
    """A few-shot task, encoded once, with the states that frozen blocks give.

    Attributes:
        task: From `few_shot_task`.
        recipe: Says what is frozen and how rows are encoded; rates are free.
    """

    def __init__(self, task: Task, pretrained: Backbone, recipe: Recipe) -> None:
        """Encode the rows.

        Args:
            task: Its training and test rows are used, and no validation rows.
            pretrained: Gives the states of the frozen blocks; it is not changed.
            recipe: That of every adaptation, but for the rate, its decay over blocks, and seed.
        """
        self.task = task
        self.recipe = recipe
        self.compute: Compute = resolve_compute("auto", recipe.precision)
        self._labels = torch.from_numpy(task.train.labels).to(self.compute.device)
        cache = PrefixCache(task, pretrained, recipes=[recipe])
        self._train = open_feed(cache, "train", recipe, self.compute)
        self._test = open_feed(cache, "test", recipe, self.compute)

    def adapt(
        self,
        start: Backbone,
        rows: int,
        recipe: Recipe,
        *,
        head: HeadStart,
        steps: int,
        looks: Collection[int] = (),
        look_rows: int = 100,
    ) -> Adapted:
        """Adapt a copy of a backbone to the first training rows.

        Args:
            start: Equals the pretrained backbone in all that is frozen.
            rows: Training rows, counted from the first.
            recipe: As the problem's, but for rates and seed.
            head: How the head starts.
            steps: Optimiser steps; 0 leaves the backbone and the head as they start.
            looks: Steps after which to look at test rows; 0 is before the first.
            look_rows: Test rows of a look.
        """
        began = time.process_time()
        with seeded(recipe.seed, self.compute.device):
            model = self._classifier(start, rows, recipe, head)
            spent = time.process_time() - began
            curve = [(0, self._accuracy(model, look_rows))] if 0 in looks else []
            objective = RowObjective(self.task, recipe)
            objective.prepare(self._train.examples, self.compute)
            optimizer = build_optimizer(model, recipe)
            stepper = Stepper(model, optimizer, objective, self.compute, steps)
            for step, batch in enumerate(self._batches(rows, steps, recipe), start=1):
                began = time.process_time()
                model.train()
                stepper.step(self._train, batch)
                spent += time.process_time() - began
                if step in looks:
                    curve.append((step, self._accuracy(model, look_rows)))
            accuracy = self._accuracy(model, len(self.task.test))
        return Adapted(accuracy, tuple(curve), spent)

    def _classifier(
        self, start: Backbone, rows: int, recipe: Recipe, head: HeadStart
    ) -> Classifier:
        model = Classifier(copy.deepcopy(start), self.task.num_outputs, recipe.dropout)
        parts = frozen_parts(recipe, start.depth, 1)
        model.backbone.freeze_parts(parts.blocks, stem=parts.stem)
        model.to(self.compute.device)
        if head == "zero":
            zero_head(model.head)
            return model
        features, labels = self._features(model, np.arange(rows)), self._labels[:rows]
        if head == "prototype":
            prototype_head(model.head, features, labels)
        else:
            found = features.float().cpu().numpy(), labels.cpu().numpy()
            fit_probe_head(model.head, *found, is_regression=False)
        return model

    @torch.no_grad()
    def _features(self, model: Classifier, rows: np.ndarray) -> Tensor:
        """Return the pooled features `(rows, width)` of training rows."""
        model.eval()
        found = [
            (batch, self._train.represented(model.backbone, rows[batch]))
            for batch in evaluation_batches(self._train.examples.lengths[rows])
        ]
        order = np.concatenate([batch for batch, _ in found])
        return torch.cat([features for _, features in found])[np.argsort(order)]

    def _batches(self, rows: int, steps: int, recipe: Recipe) -> Iterator[np.ndarray]:
        """Yield the rows of each step: shuffled passes over the training rows."""
        rng, taken = np.random.default_rng(recipe.seed), 0
        lengths = self._train.examples.lengths[:rows]
        while taken < steps:
            for batch in training_batches(lengths, recipe.batch_size, rng)[: steps - taken]:
                taken += 1
                yield batch

    @torch.inference_mode()
    def _accuracy(self, model: Classifier, rows: int) -> float:
        """Return the accuracy on the first test rows."""
        model.eval()
        labels = self.task.test.labels[:rows]
        logits = np.zeros((len(labels), self.task.num_outputs), dtype=np.float32)
        for batch in evaluation_batches(self._test.examples.lengths[: len(labels)]):
            logits[batch] = self._test.logits(model, batch).float().cpu().numpy()
        return score_classes(logits, labels)["accuracy"]


def check_frozen_alike(start: Backbone, pretrained: Backbone, recipe: Recipe) -> None:
    """Refuse a start that differs where a recipe freezes: its states would be another's.

    Raises:
        RecipeError: If it differs there.
    """
    parts = frozen_parts(recipe, pretrained.depth, 1)
    modules = [pretrained.blocks()[at] for at in parts.blocks]
    modules += pretrained.stem() if parts.stem else []
    frozen = {id(value) for module in modules for value in module.parameters()}
    weights = dict(start.named_parameters())
    for name, value in pretrained.named_parameters():
        if id(value) in frozen and not torch.equal(value, weights[name]):
            raise RecipeError(
                f"frozen_fraction is {recipe.frozen_fraction:g}, but the initialisation moved "
                f"{name}, which that freezes",
                "Train it with the same frozen_fraction",
            )
