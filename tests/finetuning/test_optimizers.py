from __future__ import annotations

import dataclasses
import sys

import pytest
import torch

from metaft.errors import MissingExtraError
from metaft.finetuning.loop import fine_tune
from metaft.finetuning.model import Classifier, trainable
from metaft.finetuning.optimizers import RATE_SCALE, build_optimizer
from metaft.recipes import Recipe

RECIPE = Recipe(learning_rate=1e-2, epochs=6, batch_size=8, precision="fp32", max_length=32)
EXTRAS = {"schedule_free": "schedulefree", "prodigy": "prodigyopt"}


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [("adamw", 1e-2), ("adam", 1e-2), ("sgd", 0.03), ("schedule_free", 1e-2), ("prodigy", 1.0)],
)
def test_every_optimizer_learns(tiny_text_backbone, tiny_task, optimizer, rate: float) -> None:
    if optimizer in EXTRAS:
        pytest.importorskip(EXTRAS[optimizer])
    recipe = dataclasses.replace(
        RECIPE, optimizer=optimizer, learning_rate=rate, frozen_fraction=1.0, epochs=40
    )
    outcome = fine_tune(tiny_task(rows=64), tiny_text_backbone(width=32), recipe).outcome
    assert outcome.status == "ok"
    assert outcome.curve[-1].train_loss < 0.9 * outcome.curve[0].train_loss


@pytest.mark.parametrize("optimizer", EXTRAS)
def test_an_optimizer_that_is_not_installed_is_named_before_any_work(
    tiny_text_backbone, tiny_task, optimizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, EXTRAS[optimizer], None)
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer)
    with pytest.raises(MissingExtraError, match=f"pip install {EXTRAS[optimizer]}"):
        fine_tune(tiny_task(), tiny_text_backbone(), recipe)


def test_matrices_decay_and_vectors_do_not(tiny_text_backbone) -> None:
    model = Classifier(tiny_text_backbone(), 2, 0.1)
    groups = build_optimizer(model, RECIPE).param_groups
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]
    assert {p.ndim for p in groups[0]["params"]} == {2}
    assert {p.ndim for p in groups[1]["params"]} == {1}


@pytest.mark.parametrize("kind", ["text", "image"])
def test_layer_rates_fall_from_the_head_to_the_embeddings(
    tiny_text_backbone, tiny_image_backbone, kind: str
) -> None:
    backbone = tiny_text_backbone(depth=3) if kind == "text" else tiny_image_backbone()
    model = Classifier(backbone, 2, 0.1)
    recipe = dataclasses.replace(RECIPE, layer_rate_decay=0.5)
    scales = {
        id(p): group[RATE_SCALE]
        for group in build_optimizer(model, recipe).param_groups
        for p in group["params"]
    }
    assert set(scales) == {id(p) for p in trainable(model).values()}
    assert {scales[id(p)] for p in model.head.parameters()} == {1.0}
    for above, block in enumerate(reversed(backbone.blocks())):
        assert {scales[id(p)] for p in block.parameters()} == {0.5**above}
    lowest = {scales[id(p)] for module in backbone.stem() for p in module.parameters()}
    assert lowest == {0.5**backbone.depth}


def test_a_slow_layer_moves_less(tiny_text_backbone, tiny_task) -> None:
    backbone = tiny_text_backbone(depth=2)
    recipe = dataclasses.replace(RECIPE, epochs=1, layer_rate_decay=0.1, weight_decay=0.0)
    model = fine_tune(tiny_task(rows=16), backbone, recipe).model
    assert model is not None
    low, high = (
        torch.cat(
            [(a - b).abs().flatten() for a, b in zip(x.parameters(), y.parameters(), strict=True)]
        ).mean()
        for x, y in zip(model.backbone.blocks(), backbone.blocks(), strict=True)
    )
    assert 0 < low < 0.3 * high
