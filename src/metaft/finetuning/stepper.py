"""Optimiser steps: forward, backward, clip, rate, update."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from metaft.finetuning.device import Compute
from metaft.finetuning.dropout import quick_dropout
from metaft.finetuning.feed import Feed
from metaft.finetuning.model import Classifier, trainable
from metaft.finetuning.schedules import rate_factor
from metaft.recipes import Recipe


class Stepper:
    """One optimiser step after another: forward, backward, clip, rate, update."""

    def __init__(
        self,
        model: Classifier,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        compute: Compute,
        total_steps: int,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.recipe = recipe
        self.total_steps = total_steps
        self.parameters = list(trainable(model).values())
        self.scaler = torch.GradScaler(compute.device, enabled=compute.precision == "fp16")
        self.dropout = quick_dropout(compute.device)
        self.taken = 0

    def step(self, feed: Feed, rows: np.ndarray, targets: Tensor) -> Tensor:
        """Take one step on the given rows; return its loss, not synchronised."""
        with self.dropout:
            logits = feed.logits(self.model, rows)
        loss = loss_of(logits, targets[torch.from_numpy(rows).to(targets.device)])
        self.scaler.scale(loss).backward()
        self.update()
        return loss.detach()

    def update(self) -> None:
        """Move the parameters along their gradients, and clear these."""
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.parameters, self.recipe.max_gradient_norm)
        rate = self.recipe.learning_rate * rate_factor(self.recipe, self.taken, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.taken += 1


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of logits `(rows, outputs)`; a squared one where targets are values."""
    if targets.is_floating_point():
        return functional.mse_loss(logits.float()[:, 0], targets)
    return functional.cross_entropy(logits.float(), targets)


def build_optimizer(model: Classifier, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW with decay on matrices alone."""
    learning = trainable(model).values()
    groups = [
        {
            "params": [p for p in learning if p.ndim > 1],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
