from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from metaft.finetuning.device import Compute
from metaft.finetuning.feed import open_feed
from metaft.finetuning.loop import fine_tune
from metaft.finetuning.model import Classifier
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.recipes import Recipe

FP32 = Compute("cpu", "fp32")
RECIPE = Recipe(precision="fp32", epochs=2, learning_rate=1e-3, batch_size=8, max_length=32)


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75, 1.0])
def test_cached_states_give_the_logits_of_the_whole_model(
    tiny_text_backbone, tiny_task, fraction: float
) -> None:
    backbone, task = tiny_text_backbone(depth=4), tiny_task(rows=20)
    recipe = dataclasses.replace(RECIPE, frozen_fraction=fraction)
    model = Classifier(backbone, 2, dropout=0.0).double().eval()
    cache = PrefixCache(task, backbone)
    feed = open_feed(cache, "validation", recipe, FP32)
    whole = open_feed(PrefixCache(task, backbone, limit_bytes=0), "validation", recipe, FP32)
    assert (feed.features is not None) == (fraction == 1.0)
    rows = np.array([3, 0, 7])
    with torch.no_grad():
        model.float()
        assert torch.allclose(feed.logits(model, rows), whole.logits(model, rows), atol=1e-5)


@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_a_cached_run_is_the_uncached_run(tiny_text_backbone, tiny_task, fraction: float) -> None:
    task, backbone = tiny_task(rows=24), tiny_text_backbone(depth=2)
    recipe = dataclasses.replace(RECIPE, frozen_fraction=fraction, dropout=0.0)
    curves = []
    for limit in (0, 1 << 30):
        cache = PrefixCache(task, backbone, limit_bytes=limit)
        outcome = fine_tune(task, backbone, recipe, cache=cache, test_every_epoch=True).outcome
        curves.append([(r.train_loss, r.validation["loss"]) for r in outcome.curve])
    # Blocks above the frozen ones draw dropout, in the same order with and without the cache.
    assert np.allclose(curves[0], curves[1], atol=1e-4)


def test_runs_share_rows_and_states(tiny_text_backbone, tiny_task) -> None:
    task, backbone = tiny_task(rows=16), tiny_text_backbone()
    cache = PrefixCache(task, backbone)
    half = dataclasses.replace(RECIPE, frozen_fraction=0.5)
    first = open_feed(cache, "train", half, FP32)
    faster = dataclasses.replace(half, learning_rate=1e-2)
    assert open_feed(cache, "train", faster, FP32).states is first.states
    longer = dataclasses.replace(half, max_length=16)
    assert open_feed(cache, "train", longer, FP32).states is not first.states


def test_states_beyond_the_limit_are_not_kept(tiny_text_backbone, tiny_task) -> None:
    cache = PrefixCache(tiny_task(rows=16), tiny_text_backbone(), limit_bytes=1000)
    assert cache.states("train", RECIPE, 1, FP32) is None
    assert cache.used_bytes == 0


def test_the_limit_counts_what_is_kept(tiny_text_backbone, tiny_task) -> None:
    cache = PrefixCache(tiny_task(rows=16), tiny_text_backbone())
    states = cache.states("train", RECIPE, 1, FP32)
    assert states is not None
    kept = sum(row.numel() * row.element_size() for row in states.rows)
    assert cache.used_bytes == kept


def test_half_precision_runs_store_half_precision(tiny_text_backbone, tiny_task) -> None:
    cache = PrefixCache(tiny_task(rows=16), tiny_text_backbone())
    states = cache.states("train", RECIPE, 1, Compute("cpu", "bf16"))
    assert states is not None
    assert states.rows[0].dtype == torch.float16
    exact = cache.states("train", RECIPE, 1, FP32)
    assert exact is not None
    assert torch.allclose(states.rows[0].float(), exact.rows[0], atol=0.05)


def test_images_too(tiny_image_backbone, tiny_task) -> None:
    task, backbone = tiny_task(rows=12, kind="image_classification"), tiny_image_backbone()
    recipe = dataclasses.replace(RECIPE, frozen_fraction=0.5, image_size=32)
    model = Classifier(backbone, 2, dropout=0.0).eval()
    cached = open_feed(PrefixCache(task, backbone), "test", recipe, FP32)
    whole = open_feed(PrefixCache(task, backbone, limit_bytes=0), "test", recipe, FP32)
    assert cached.states is not None
    rows = np.arange(len(task.test))
    with torch.no_grad():
        assert torch.allclose(cached.logits(model, rows), whole.logits(model, rows), atol=1e-5)
