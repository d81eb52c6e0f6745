"""Trial steps: gradients at the start, and what a few steps at three rates make of the loss.

The steps are those of the fine-tuning loop (its model, optimiser, precision and batches) with
nothing frozen, but without dropout and warm-up: what differs between tasks shall be the task.
They are taken on a copy, so the backbone that is asked about stays as it is.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from metaft.backbones.backbone import Backbone
from metaft.features.trial import (
    TRIAL_BATCH_ROWS,
    TRIAL_COSTS,
    TRIAL_FEATURES,
    TRIAL_RATES,
    TRIAL_STEPS,
)
from metaft.finetuning.batches import evaluation_batches, training_batches
from metaft.finetuning.clock import Clock
from metaft.finetuning.device import Device, resolve_compute
from metaft.finetuning.feed import Feed
from metaft.finetuning.loop import seeded
from metaft.finetuning.memory import is_out_of_memory, reset_peak_memory
from metaft.finetuning.model import Classifier, restore_state, trainable, trained_state
from metaft.finetuning.objectives import Objective, objective_of
from metaft.finetuning.optimizers import build_optimizer
from metaft.finetuning.stepper import Stepper
from metaft.recipes import PLAIN, Recipe
from metaft.tasks.split import strata_of, stratified_order, subsample
from metaft.tasks.task import Task

ASIDE_ROWS = 32
"""Training rows that no step sees: losses are compared on them."""

_FEWEST_ROWS = 8
_ASIDE_SHARE = 0.4  # of the rows of a task too small for whole batches
_LEAST_DROP = -3.0  # A loss four times the first has diverged, and how far is chance.

_Gradient = dict[nn.Parameter, Tensor]


def take_trial(
    task: Task, backbone: Backbone, *, train_rows: int, device: Device = "auto"
) -> dict[str, float]:
    """Take trial steps, and say what they tell; see `metaft.features.trial`.

    Only training rows are used. It costs what some twelve steps do: at 512 rows and on a
    CPU 18 to 23 % of the training time of `plain`, 10 to 15 % of its run with validation.

    Args:
        task: As loaded.
        backbone: Pretrained, of the task's modality; stays as it is.
        train_rows: Training rows of the run that is asked about, >= 1.
        device: Where to compute; `auto` takes a GPU where there is one.

    Returns:
        Feature or cost -> value, NaN where it is unknown: with fewer than 8 rows, or where
        memory runs out.
    """
    rows = subsample(task, train_rows=train_rows)
    found: dict[str, float] = {}
    if len(rows.train) >= _FEWEST_ROWS:
        try:
            found = _Trial.prepare(rows, backbone, device).run()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
    return {name: found.get(name, math.nan) for name in (*TRIAL_FEATURES, *TRIAL_COSTS)}


@dataclass(eq=False)
class _Trial:
    """A model at its start, and the rows that it steps on.

    Attributes:
        model: A copy of the backbone with a random head.
        feed: The rows of the trial.
        objective: What is learned.
        batches: Rows of each step.
        aside: `(rows,)` those that no step sees.
    """

    model: Classifier
    feed: Feed
    objective: Objective[Any]
    batches: Sequence[np.ndarray]
    aside: np.ndarray

    @classmethod
    def prepare(cls, task: Task, backbone: Backbone, device: Device) -> _Trial:
        """Choose the rows, copy the backbone and put a head on it."""
        recipe = _recipe()
        compute = resolve_compute(device, recipe.precision)
        reset_peak_memory(compute.device)
        order = stratified_order(strata_of(task.train.labels), seed=0)
        order = order[: TRIAL_STEPS * TRIAL_BATCH_ROWS + ASIDE_ROWS]
        sample = task.replaced(train=task.train.take(order))
        examples = backbone.encode(
            sample.train, max_length=recipe.max_length, image_size=recipe.image_size
        )
        count = len(examples)
        stepped = count - min(ASIDE_ROWS, int(_ASIDE_SHARE * count))
        objective = objective_of(sample, recipe)
        objective.prepare(examples, compute)
        with seeded(recipe.seed, compute.device):
            model = objective.new_model(copy.deepcopy(backbone))
        model.backbone.trim_vocabulary([examples])
        model.backbone.freeze(recipe.frozen_fraction)
        rng = np.random.default_rng(recipe.seed)
        return cls(
            model=_without_dropout(model.to(compute.device)),
            feed=Feed(examples, compute, is_by_token=task.is_by_token),
            objective=objective,
            batches=training_batches(examples.lengths[:stepped], TRIAL_BATCH_ROWS, rng),
            aside=np.arange(stepped, count),
        )

    def run(self) -> dict[str, float]:
        """Measure gradients and losses."""
        start = trained_state(self.model)
        gradients = [self._gradient(rows) for rows in self.batches]
        restore_state(self.model, start)  # BatchNorm has counted the passes.
        before = self._loss_aside()
        found = self._describe(gradients)
        seconds = []
        for name, rate in TRIAL_RATES.items():
            restore_state(self.model, start)
            seconds.append(self._steps(rate, gradients[0]))
            found[name] = _drop(before, self._loss_aside())
        costs = Clock(self.feed.compute.device).stop()
        return found | {
            "trial_step_seconds": float(np.median(seconds)),
            "trial_peak_memory_mib": costs.peak_memory_mib,
        }

    def _gradient(self, rows: np.ndarray) -> _Gradient:
        """Return a batch's gradient at the start."""
        self._loss_of(rows).backward()
        learning = trainable(self.model).values()
        found = {p: p.grad for p in learning if p.grad is not None}
        self.model.zero_grad(set_to_none=True)
        return found

    def _steps(self, rate: float, first: _Gradient) -> float:
        """Step from the start at a rate, the first time along a known gradient.

        Returns:
            Seconds of a later step; NaN where there is none.
        """
        recipe = _recipe(rate)
        optimizer = build_optimizer(self.model, recipe)
        objective = self.objective.at(recipe)
        stepper = Stepper(self.model, optimizer, objective, self.feed.compute, TRIAL_STEPS)
        for parameter, gradient in first.items():
            parameter.grad = gradient.clone()  # Clipping writes to it.
        stepper.update()
        clock = Clock(self.feed.compute.device)
        for rows in self.batches[1:TRIAL_STEPS]:
            stepper.step(self.feed, rows)
        costs = clock.stop()
        seconds = costs.cpu_seconds if costs.gpu_seconds is None else costs.gpu_seconds
        later = len(self.batches[1:TRIAL_STEPS])
        return seconds / later if later else math.nan

    @torch.no_grad()
    def _loss_aside(self) -> float:
        """Return the mean loss of the rows aside."""
        total = 0.0
        for rows in evaluation_batches(self.feed.examples.lengths[self.aside]):
            total += len(rows) * float(self._loss_of(self.aside[rows]))
        return total / len(self.aside)

    def _loss_of(self, rows: np.ndarray) -> Tensor:
        return self.objective.loss(self.model, self.feed.logits(self.model, rows), self.feed, rows)

    def _describe(self, gradients: Sequence[_Gradient]) -> dict[str, float]:
        """Say how large the gradients are, where they lie, and whether they agree."""
        backbone, head = self.model.backbone, self.model.head
        blocks = backbone.blocks()
        low, high = nn.ModuleList(blocks[: len(blocks) // 2]), nn.ModuleList(blocks)
        in_low, in_all = (sum(_squares(_of(g, part)) for g in gradients) for part in (low, high))
        return {
            "trial_log10_gradient": _mean_log10_norm([_of(g, self.model) for g in gradients]),
            "trial_log10_head_gradient": _mean_log10_norm([_of(g, head) for g in gradients]),
            "trial_low_share": in_low / in_all if in_all > 0 else math.nan,
            "trial_agreement": _mean_cosine([_of(g, backbone) for g in gradients]),
        }


def _recipe(learning_rate: float = PLAIN.learning_rate) -> Recipe:
    """Return how a trial's rows are encoded and its steps taken."""
    return Recipe(
        learning_rate=learning_rate,
        batch_size=TRIAL_BATCH_ROWS,
        warmup_fraction=0.0,
        dropout=0.0,
    )


def _without_dropout(model: Classifier) -> Classifier:
    """Switch dropout off, but let BatchNorm go by the batch, as in training."""
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    return model


def _of(gradient: _Gradient, part: nn.Module) -> list[Tensor]:
    """Return a part's share of a gradient."""
    return [gradient[parameter] for parameter in part.parameters() if parameter in gradient]


def _squares(tensors: Sequence[Tensor]) -> float:
    return sum(float(norm) ** 2 for norm in torch._foreach_norm(list(tensors)))


def _product(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    pairs = zip(some, others, strict=True)
    return sum(float(torch.dot(one.flatten(), other.flatten())) for one, other in pairs)


def _mean_log10_norm(gradients: Sequence[Sequence[Tensor]]) -> float:
    """Return the mean over batches; NaN where a gradient vanishes or is not finite."""
    norms = [math.sqrt(_squares(gradient)) for gradient in gradients]
    if not all(math.isfinite(norm) and norm > 0 for norm in norms):
        return math.nan
    return float(np.mean(np.log10(norms)))


def _mean_cosine(gradients: Sequence[Sequence[Tensor]]) -> float:
    """Return the mean over pairs of batches; NaN where there is no pair, or no direction."""
    norms = [math.sqrt(_squares(gradient)) for gradient in gradients]
    if len(gradients) < 2 or min(norms) == 0:
        return math.nan
    pairs = itertools.combinations(range(len(gradients)), 2)
    cosines = [_product(gradients[a], gradients[b]) / (norms[a] * norms[b]) for a, b in pairs]
    return float(np.mean(cosines))


def _drop(before: float, after: float) -> float:
    """Return the share of a loss that is gone; a loss that is not finite counts as the worst."""
    drop = 1.0 - after / before if math.isfinite(after) else _LEAST_DROP
    return max(_LEAST_DROP, drop)
