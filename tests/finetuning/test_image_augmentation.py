from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from metaft.backbones.backbone import Examples
from metaft.finetuning import image_augmentation
from metaft.finetuning.augmentation import Mixing
from metaft.finetuning.image_augmentation import ImageAugmenter
from metaft.finetuning.loop import fine_tune
from metaft.finetuning.objectives import RowObjective, loss_of
from metaft.recipes import IMAGE_AUGMENTATIONS, Recipe

SIDE = 24
SINGLE = [name for name in IMAGE_AUGMENTATIONS if name not in ("mixup", "cutmix")]


@pytest.fixture
def make_augmenter(monkeypatch: pytest.MonkeyPatch):
    """Return a factory of augmenters that always change a row."""
    monkeypatch.setattr(image_augmentation, "CHANCE", 1.1)
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (4, 3, SIDE, SIDE), dtype=np.uint8))

    def build(names: str, **fields) -> ImageAugmenter:
        recipe = Recipe(augmentation=names, augmentation_strength=0.3, **fields)
        return ImageAugmenter(Examples({"pixels": pixels}, np.ones(4, dtype=np.int64)), recipe)

    return build


@pytest.mark.parametrize("name", SINGLE)
def test_a_row_changes_with_seed_and_epoch_and_with_nothing_else(make_augmenter, name) -> None:
    augmenter, other = make_augmenter(name), make_augmenter(name)
    pixels = [a.vary(np.array(rows), 1).columns["pixels"] for a, rows in
              ((augmenter, [0, 2]), (other, [2, 0]))]  # fmt: skip
    assert pixels[0].shape == (2, 3, SIDE, SIDE)
    assert pixels[0].dtype == torch.uint8
    assert torch.equal(pixels[0], pixels[1].flip(0))
    assert not torch.equal(augmenter.change(0, 1), augmenter._pixels[0])
    if name != "flip":
        assert not torch.equal(augmenter.change(0, 1), augmenter.change(0, 2))
        assert not torch.equal(augmenter.change(0, 1), make_augmenter(name, seed=1).change(0, 1))


def test_what_each_method_does(make_augmenter) -> None:
    plain = make_augmenter("flip")._pixels[0]
    assert torch.equal(make_augmenter("flip").change(0, 1), plain.flip(-1))
    noisy = make_augmenter("noise").change(0, 1).float() - plain.float()
    assert 20 < noisy.std() < 255 * 0.3 * 0.5
    erased = (make_augmenter("erasing").change(0, 1) != plain).any(0)
    assert 0 < erased.float().mean() < 0.35
    rows, columns = erased.any(1).nonzero().flatten(), erased.any(0).nonzero().flatten()
    assert len(rows) == rows.max() - rows.min() + 1  # One square.
    assert len(columns) == columns.max() - columns.min() + 1


def test_mixup_blends_pixels_and_labels_by_one_share(make_augmenter) -> None:
    augmenter, rows = make_augmenter("mixup"), np.array([0, 1, 2])
    mixing = augmenter.mix(rows, 1)
    assert mixing is not None
    assert mixing.box is None
    assert mixing.partner.tolist() == [2, 0, 1]
    assert augmenter.mix(rows, 2).share != mixing.share
    pixels = torch.rand(3, 3, 4, 4)
    mixed = mixing.blend({"pixels": pixels})["pixels"]
    expected = mixing.share * pixels[1] + (1 - mixing.share) * pixels[0]
    assert torch.allclose(mixed[1], expected)


def test_cutmix_weighs_the_labels_by_area(make_augmenter) -> None:
    mixing = make_augmenter("cutmix").mix(np.array([0, 1]), 1)
    assert mixing is not None
    assert mixing.box is not None
    pixels = torch.stack([torch.zeros(3, SIDE, SIDE), torch.ones(3, SIDE, SIDE)])
    mixed = mixing.blend({"pixels": pixels})["pixels"]
    assert float(mixed[1].mean()) == pytest.approx(mixing.share, abs=1e-6)


def test_one_row_alone_is_not_mixed(make_augmenter) -> None:
    assert make_augmenter("mixup+cutmix").mix(np.array([0]), 1) is None


def test_the_loss_of_mixed_rows_is_that_of_soft_labels(tiny_image_backbone, tiny_task) -> None:
    task = tiny_task(rows=3, kind="image_classification")
    objective = RowObjective(task, Recipe())
    logits, targets = torch.randn(3, 2), torch.from_numpy(task.train.labels)
    mixing = Mixing(np.array([2, 0, 1]), 0.3, None)
    soft = 0.3 * torch.eye(2)[targets] + 0.7 * torch.eye(2)[targets[[2, 0, 1]]]
    model: Any = None
    mixed: Any = SimpleNamespace(mixing=lambda rows: mixing)
    assert torch.allclose(
        objective.loss(model, logits, mixed, np.arange(3)),
        torch.nn.functional.cross_entropy(logits, soft),
    )
    plain: Any = SimpleNamespace(mixing=lambda rows: None)
    loss = objective.loss(model, logits, plain, np.arange(3))
    assert torch.equal(loss, loss_of(logits, targets))


@pytest.mark.parametrize("names", ["+".join(SINGLE), "mixup+cutmix"])
def test_it_learns_with_augmentation(tiny_image_backbone, tiny_task, names: str) -> None:
    recipe = Recipe(
        learning_rate=1e-3, epochs=8, batch_size=8, precision="fp32", image_size=32,
        augmentation=names,
    )  # fmt: skip
    task = tiny_task(rows=48, kind="image_classification")
    outcome = fine_tune(task, tiny_image_backbone(), recipe).outcome
    assert outcome.test["accuracy"] > 0.8
    plain = dataclasses.replace(recipe, augmentation="none")
    other = fine_tune(task, tiny_image_backbone(), plain).outcome
    assert other.curve[0].train_loss != outcome.curve[0].train_loss
