from __future__ import annotations

import contextlib
import dataclasses
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metaft.backbones.backbone import Backbone
from metaft.finetuning.device import Compute
from metaft.finetuning.feed import open_feed
from metaft.finetuning.loop import fine_tune
from metaft.finetuning.model import Classifier
from metaft.finetuning.prefix_cache import SPLITS, PrefixCache
from metaft.recipes import Recipe

FP32 = Compute("cpu", "fp32")
BF16 = Compute("cpu", "bf16")
RECIPE = Recipe(
    precision="fp32", epochs=2, learning_rate=1e-3, batch_size=8, max_length=32, image_size=32
)
HALF = dataclasses.replace(RECIPE, frozen_fraction=0.5)
HEAD_ONLY = dataclasses.replace(RECIPE, frozen_fraction=1.0)
KINDS = ("classification", "pair_classification", "image_classification")


@pytest.fixture
def make_pair(tiny_text_backbone, tiny_image_backbone, tiny_task):
    """Return a factory of a task with its backbone, in float64."""

    def build(kind: str) -> tuple[Any, Backbone]:
        is_image = kind == "image_classification"
        backbone = tiny_image_backbone() if is_image else tiny_text_backbone(depth=4)
        backbone.double()
        if is_image:  # So that its pixels are of that precision, too.
            backbone._mean, backbone._std = backbone._mean.double(), backbone._std.double()
        return tiny_task(rows=20, kind=kind), backbone

    return build


@contextlib.contextmanager
def _float64() -> Iterator[None]:
    """Build what is new in float64, such as a head."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("limit", [1, 1 << 30], ids=["file", "memory"])
@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_cached_states_give_the_logits_of_the_whole_model(
    make_pair, kind: str, fraction: float, limit: int
) -> None:
    task, backbone = make_pair(kind)
    recipe = dataclasses.replace(RECIPE, frozen_fraction=fraction)
    model = Classifier(backbone, 2, dropout=0.0).double().eval()
    feed = open_feed(PrefixCache(task, backbone, limit), "validation", recipe, FP32)
    whole = open_feed(PrefixCache(task, backbone, limit_bytes=0), "validation", recipe, FP32)
    assert (feed.features is not None) == (fraction == 1.0)
    assert feed.features is not None or (feed.states is not None and whole.states is None)
    rows = np.array([3, 0, 7])
    with torch.no_grad():
        difference = feed.logits(model, rows) - whole.logits(model, rows)
    assert difference.abs().max() < 1e-12


@pytest.mark.parametrize("fraction", [0.5, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cached_run_is_the_uncached_run(make_pair, kind: str, fraction: float) -> None:
    task, backbone = make_pair(kind)
    recipe = dataclasses.replace(RECIPE, frozen_fraction=fraction, head_init="linear_probe")
    curves = []
    for limit in (0, 1, 1 << 30):
        cache = PrefixCache(task, backbone, limit, [recipe])
        with _float64():
            outcome = fine_tune(task, backbone, recipe, cache=cache, test_every_epoch=True).outcome
        curves.append([(r.train_loss, r.validation["loss"], r.test["loss"]) for r in outcome.curve])
    # Blocks above the frozen ones draw dropout, in the same order with and without the cache.
    # Losses are computed in float32, whatever the model is.
    assert np.allclose(curves[0], curves[1], rtol=1e-6, atol=0)
    assert curves[1] == curves[2]


def test_one_pass_serves_all_recipes(make_pair, monkeypatch: pytest.MonkeyPatch) -> None:
    task, backbone = make_pair("classification")
    recipes = [
        RECIPE,
        HALF,
        dataclasses.replace(RECIPE, frozen_fraction=0.25, head_init="linear_probe"),
        HEAD_ONLY,
    ]
    rows_seen = _count_rows(backbone, monkeypatch)
    cache = PrefixCache(task, backbone, recipes=recipes)
    for recipe in recipes * 2:
        cache.prepare(recipe, FP32)
        for split in SPLITS:
            open_feed(cache, split, recipe, FP32)
    assert sum(rows_seen) == sum(len(getattr(task, split)) for split in SPLITS)


def test_a_pass_goes_no_deeper_than_it_must(make_pair, monkeypatch: pytest.MonkeyPatch) -> None:
    task, backbone = make_pair("classification")
    beyond = backbone.blocks()[2]
    monkeypatch.setattr(beyond, "forward", lambda *_, **__: pytest.fail("the third block ran"))
    assert open_feed(PrefixCache(task, backbone), "train", HALF, FP32).states is not None


def _count_rows(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the growing list of the rows of every batch that passes through the backbone."""
    seen: list[int] = []
    pass_through, forward = backbone.hidden_states, backbone.forward

    def counted_pass(batch: Any, depths: Any) -> Any:
        seen.append(len(batch["input_ids"]))
        return pass_through(batch, depths)

    def counted_forward(batch: Any, *, start: int = 0, hidden: Any = None) -> Any:
        seen.append(0 if start else len(batch["input_ids"]))
        return forward(batch, start=start, hidden=hidden)

    monkeypatch.setattr(backbone, "hidden_states", counted_pass)
    monkeypatch.setattr(backbone, "forward", counted_forward)
    return seen


def test_runs_share_rows_and_states(make_pair) -> None:
    task, backbone = make_pair("classification")
    cache = PrefixCache(task, backbone)
    first = open_feed(cache, "train", HALF, FP32)
    faster = dataclasses.replace(HALF, learning_rate=1e-2)
    assert open_feed(cache, "train", faster, FP32).states is first.states
    longer = dataclasses.replace(HALF, max_length=16)
    assert open_feed(cache, "train", longer, FP32).states is not first.states


def test_what_an_earlier_run_filled_in_counts_for_every_run(make_pair) -> None:
    task, backbone = make_pair("classification")
    cache = PrefixCache(task, backbone, recipes=[RECIPE, HALF, HEAD_ONLY])
    head_only = cache.prepare(HEAD_ONLY, FP32)
    plain, half = cache.prepare(RECIPE, FP32), cache.prepare(HALF, FP32)
    assert 0 < plain < half < head_only
    assert cache.prepare(HEAD_ONLY, FP32) == head_only
    # The rows' encoding and half of the blocks.
    assert half - plain == pytest.approx((head_only - plain) / 2)


def test_without_a_cache_the_prefix_is_part_of_the_run(make_pair) -> None:
    task, backbone = make_pair("classification")
    cache = PrefixCache(task, backbone, limit_bytes=0)
    assert cache.prepare(HEAD_ONLY, FP32) == cache.prepare(RECIPE, FP32) > 0
    assert cache.room.used_bytes == 0


def test_half_precision_runs_store_half_precision(tiny_text_backbone, tiny_task) -> None:
    cache = PrefixCache(tiny_task(rows=16), tiny_text_backbone())
    states = cache.states("train", RECIPE, 1, BF16)
    exact = cache.states("train", RECIPE, 1, FP32)
    assert states is not None
    assert exact is not None
    assert (states.flat.dtype, exact.flat.dtype) == (torch.float16, torch.float32)
    assert torch.allclose(states.flat.float(), exact.flat, atol=0.05)
    assert cache.room.used_bytes == states.flat.nbytes + exact.flat.nbytes


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_on_a_full_disk_states_are_computed_anew(
    make_pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    task, backbone = make_pair("classification")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "wb"))  # noqa: SIM115, PTH123
    cache = PrefixCache(task, backbone, limit_bytes=1)
    with caplog.at_level(logging.WARNING):
        outcome = fine_tune(task, backbone.float(), HALF, cache=cache).outcome
    assert outcome.status == "ok"
    assert len(caplog.records) == len(SPLITS)  # Once, not in every epoch.
    assert "after 2 blocks are computed anew in every run" in caplog.text
    assert "No space left" in caplog.text
