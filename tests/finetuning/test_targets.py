from __future__ import annotations

import dataclasses

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight

from metaft.finetuning.loop import fine_tune
from metaft.finetuning.objectives import loss_of
from metaft.finetuning.targets import class_weights
from metaft.recipes import Recipe

BALANCED = Recipe(class_weights="balanced", epochs=1, batch_size=8, max_length=32)


def _lopsided(task, rare: int = 4):
    """Return the task with all but a few training rows of class 0."""
    labels = np.zeros(len(task.train), dtype=task.train.labels.dtype)
    labels[:rare] = 1
    return dataclasses.replace(task, train=dataclasses.replace(task.train, labels=labels))


def test_balanced_weights_are_those_of_scikit_learn(tiny_task) -> None:
    task = _lopsided(tiny_task(rows=40))
    found = class_weights(task, BALANCED)
    labels = task.train.labels
    expected = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    assert found is not None
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    assert class_weights(task, Recipe()) is None


def test_a_class_without_rows_takes_no_part(tiny_task) -> None:
    task = dataclasses.replace(_lopsided(tiny_task(rows=40)), label_names=("a", "b", "c"))
    found = class_weights(task, BALANCED)
    assert found is not None
    assert found[2] == 1.0
    np.testing.assert_allclose(
        found[:2].numpy(), class_weights(_lopsided(tiny_task(rows=40)), BALANCED)
    )


def test_in_the_loss_every_class_counts_alike() -> None:
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.5, 0.0], [0.0, 1.0]])
    targets = torch.tensor([0, 0, 0, 1])
    each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    found = loss_of(logits, targets, class_weights=torch.tensor([4 / 6, 4 / 2]))
    torch.testing.assert_close(found, (each[:3].mean() + each[3]) / 2)


def test_a_run_uses_them(tiny_text_backbone, tiny_task) -> None:
    task = _lopsided(tiny_task(rows=40))
    backbone = tiny_text_backbone()
    losses = [
        fine_tune(task, backbone, recipe).outcome.curve[0].train_loss
        for recipe in (BALANCED, dataclasses.replace(BALANCED, class_weights="equal"))
    ]
    assert losses[0] != losses[1]
