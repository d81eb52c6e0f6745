"""Optimiser steps: forward, backward, clip, rate, update."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from metaft.finetuning.device import Compute
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
        self.taken = 0

    def step(self, feed: Feed, rows: np.ndarray, targets: Tensor) -> Tensor:
        """Take one step on the given rows; return its loss, not synchronised."""
        logits = feed.logits(self.model, rows).float()
        wanted = targets[torch.from_numpy(rows).to(targets.device)]
        if wanted.is_floating_point():
            loss = functional.mse_loss(logits[:, 0], wanted)
        else:
            loss = functional.cross_entropy(logits, wanted)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.parameters, self.recipe.max_gradient_norm)
        rate = self.recipe.learning_rate * rate_factor(self.recipe, self.taken, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.taken += 1
        return loss.detach()


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
