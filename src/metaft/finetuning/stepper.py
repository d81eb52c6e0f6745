"""Optimiser steps: forward, backward, clip, rate, update."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from metaft.finetuning.adaptive import AdaptiveRate
from metaft.finetuning.device import Compute
from metaft.finetuning.dropout import quick_dropout
from metaft.finetuning.feed import Feed
from metaft.finetuning.model import Classifier, trainable
from metaft.finetuning.objectives import Objective
from metaft.finetuning.optimizers import RATE_SCALE
from metaft.finetuning.schedules import rate_factor, warmup_steps_of
from metaft.recipes import Recipe

_LOOKS = 10  # Of the adaptive schedule in a short run.


class Stepper:
    """One optimiser step after another: forward, backward, clip, rate, update."""

    def __init__(
        self,
        model: Classifier,
        optimizer: torch.optim.Optimizer,
        objective: Objective[Any],
        compute: Compute,
        total_steps: int,
    ) -> None:
        self.model = model
        self.objective = objective
        self.optimizer = optimizer
        self.recipe = recipe = objective.recipe
        self.total_steps = total_steps
        self.parameters = list(trainable(model).values())
        self.scaler = torch.GradScaler(compute.device, enabled=compute.precision == "fp16")
        self.dropout = quick_dropout(compute.device)
        self.adaptive = _adaptive_rate(optimizer, recipe, total_steps)
        self.taken = 0
        self.began = 0

    def begin_epoch(self) -> None:
        """Begin to count the steps of an epoch."""
        self.began = self.taken
        if hasattr(self.optimizer, "train"):  # Schedule-free: to where gradients are taken.
            self.optimizer.train()

    def end_epoch(self, total: Tensor) -> float:
        """Return the mean of the epoch's losses, whose sum is given.

        Where the adaptive schedule has stepped back, it is that of the steps that still count.
        """
        if hasattr(self.optimizer, "eval"):  # Schedule-free: to the average, which is better.
            self.optimizer.eval()
        loss = float(total) / (self.taken - self.began)  # The epoch's only synchronisation.
        if self.adaptive and self.adaptive.glance() > self.began:
            return self.adaptive.recent_loss
        return loss

    def step(self, feed: Feed, rows: np.ndarray) -> Tensor:
        """Take one step on the given rows; return its loss, not synchronised."""
        with self.dropout:
            logits = feed.logits(self.model, rows)
        loss = self.objective.loss(self.model, logits, feed, rows)
        self.scaler.scale(loss).backward()
        self.update()
        if self.adaptive:
            self.adaptive.step(loss)
        return loss.detach()

    def update(self) -> None:
        """Move the parameters along their gradients, and clear these."""
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.parameters, self.recipe.max_gradient_norm)
        if not self.adaptive:
            self._set_rate()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.taken += 1

    def _set_rate(self) -> None:
        rate = self.recipe.learning_rate * rate_factor(self.recipe, self.taken, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group[RATE_SCALE]


def lookahead_steps_of(recipe: Recipe, total_steps: int) -> int:
    """Return the steps between two looks of the adaptive schedule: a tenth of a short run."""
    return max(2, min(recipe.lookahead_steps, total_steps // _LOOKS))


def _adaptive_rate(
    optimizer: torch.optim.Optimizer, recipe: Recipe, total_steps: int
) -> AdaptiveRate | None:
    if recipe.schedule != "adaptive":
        return None
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * group[RATE_SCALE]
    return AdaptiveRate(
        optimizer,
        lookahead_steps=lookahead_steps_of(recipe, total_steps),
        threshold=recipe.decay_threshold,
        decay_factor=recipe.decay_factor,
        warmup_steps=warmup_steps_of(recipe, total_steps),
    )
