from __future__ import annotations

import dataclasses

import pytest
import torch
import transformers

from metaft.backbones.text import TextBackbone
from metaft.finetuning.feed import open_feed
from metaft.finetuning.freezing import frozen_parts, learning_parts, prefixes_of
from metaft.finetuning.loop import fine_tune
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.recipes import Recipe

RECIPE = Recipe(
    learning_rate=1e-2, epochs=2, batch_size=8, precision="fp32", max_length=32, image_size=32
)


@pytest.mark.parametrize(
    ("fields", "blocks", "stem", "prefix"),
    [
        ({}, [], False, 0),
        ({"frozen_fraction": 0.5}, [0, 1], True, 2),
        ({"frozen_fraction": 0.75}, [0, 1, 2], True, 3),
        ({"frozen_fraction": 1.0}, [0, 1, 2, 3], True, 4),
        ({"frozen_fraction": 0.5, "freezing": "last"}, [2, 3], False, 0),
        ({"frozen_fraction": 1.0, "freezing": "last"}, [0, 1, 2, 3], True, 4),
        ({"frozen_fraction": 0.5, "freezing": "alternate"}, [0, 2], True, 1),
        ({"frozen_fraction": 0.25, "freezing": "alternate"}, [0], True, 1),
        ({"freezing": "embeddings"}, [], True, 0),
        ({"freezing": "gradual"}, [0, 1, 2, 3], True, 4),
    ],
)
def test_patterns(fields: dict, blocks: list[int], stem: bool, prefix: int) -> None:
    parts = frozen_parts(dataclasses.replace(RECIPE, **fields), 4, epoch=1)
    assert (sorted(parts.blocks), parts.stem, parts.prefix) == (blocks, stem, prefix)


def test_gradual_unfreezing_thaws_from_the_top_and_the_embeddings_last() -> None:
    recipe = Recipe(freezing="gradual", unfreeze_epochs=2, epochs=11)
    seen = [frozen_parts(recipe, 3, epoch) for epoch in range(1, 12)]
    assert [len(parts.blocks) for parts in seen] == [3, 3, 2, 2, 1, 1, 0, 0, 0, 0, 0]
    assert [parts.stem for parts in seen] == [True] * 8 + [False] * 3
    assert prefixes_of(recipe, 3) == {1, 2, 3}
    assert learning_parts(recipe, 3) == seen[-1]


def test_gradual_unfreezing_stops_at_the_share_that_stays_frozen() -> None:
    recipe = Recipe(freezing="gradual", frozen_fraction=0.5, epochs=9)
    assert learning_parts(recipe, 4).prefix == 2


def _moved(model, backbone) -> tuple[list[bool], bool]:
    def differ(new: torch.nn.Module, old: torch.nn.Module) -> bool:
        pairs = zip(new.parameters(), old.parameters(), strict=True)
        return any(not torch.equal(a, b) for a, b in pairs)

    blocks = zip(model.backbone.blocks(), backbone.blocks(), strict=True)
    stems = zip(model.backbone.stem(), backbone.stem(), strict=True)
    return [differ(*pair) for pair in blocks], any(differ(*pair) for pair in stems)


@pytest.mark.parametrize(
    ("fields", "blocks", "stem"),
    [
        ({"frozen_fraction": 0.5, "freezing": "last"}, [True, True, False, False], True),
        ({"frozen_fraction": 0.5, "freezing": "alternate"}, [False, True, False, True], False),
        ({"freezing": "embeddings"}, [True] * 4, False),
        ({"freezing": "gradual"}, [False, False, False, True], False),
    ],
)
def test_what_is_frozen_does_not_move(
    tiny_text_backbone, tiny_task, fields: dict, blocks: list[bool], stem: bool
) -> None:
    backbone = tiny_text_backbone(depth=4)
    recipe = dataclasses.replace(RECIPE, weight_decay=0.1, **fields)
    task = tiny_task(rows=24)
    tuned = fine_tune(task, backbone, recipe)
    if recipe.freezing == "gradual":  # What was thawed after the best epoch goes back.
        blocks = [False] * 3 + [tuned.outcome.best_epoch == 2]
    assert tuned.model is not None
    assert _moved(tuned.model, backbone) == (blocks, stem)


@pytest.mark.parametrize("kind", ["classification", "image_classification"])
@pytest.mark.parametrize(
    "fields",
    [
        {"freezing": "gradual", "epochs": 4},
        {"freezing": "alternate", "frozen_fraction": 0.5},
    ],
    ids=["gradual", "alternate"],
)
def test_a_cached_run_is_the_uncached_run(
    tiny_text_backbone, tiny_image_backbone, tiny_task, kind: str, fields: dict
) -> None:
    is_image = kind == "image_classification"
    backbone = tiny_image_backbone() if is_image else tiny_text_backbone(depth=4)
    task = tiny_task(rows=16, kind=kind)
    recipe = dataclasses.replace(RECIPE, dropout=0.0, learning_rate=1e-3, **fields)
    cached, whole = (
        fine_tune(task, backbone, recipe, cache=PrefixCache(task, backbone, limit)).outcome
        for limit in (1 << 30, 0)
    )
    if is_image:  # Without dropout inside, the two runs draw the same numbers.
        for mine, other in zip(cached.curve, whole.curve, strict=True):
            assert mine.train_loss == pytest.approx(other.train_loss, rel=1e-4)
    assert len(cached.curve) == len(whole.curve) == recipe.epochs


_SMALL = {
    "vocab_size": 200,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
_SHARING_POSITIONS = {
    "deberta-v2": transformers.DebertaV2Config(
        **_SMALL,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        conv_kernel_size=3,
        pooler_dropout=0.0,
    ),
    "mpnet": transformers.MPNetConfig(**_SMALL, max_position_embeddings=66, pad_token_id=1),
}


@pytest.mark.parametrize("family", list(_SHARING_POSITIONS))
def test_positions_that_all_blocks_share_are_frozen_with_the_first_of_them(
    tiny_text_backbone, tiny_task, family: str
) -> None:
    config, tokenizer = _SHARING_POSITIONS[family], tiny_text_backbone().tokenizer
    backbone = TextBackbone.from_config(config, tokenizer, pooling="native")
    task = tiny_task(rows=16)
    recipe = dataclasses.replace(RECIPE, frozen_fraction=0.5, dropout=0.0, epochs=3)
    cached, whole = (
        fine_tune(task, backbone, recipe, cache=PrefixCache(task, backbone, limit))
        for limit in (1 << 30, 0)
    )
    for mine, other in zip(cached.outcome.curve, whole.outcome.curve, strict=True):
        assert mine.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert mine.validation["loss"] == pytest.approx(other.validation["loss"], rel=1e-4)
    learning = {id(p) for p in backbone.blocks()[-1].parameters()}
    assert cached.model is not None
    new = dict(cached.model.backbone.model.base_model.encoder.named_parameters())
    for name, value in backbone.model.base_model.encoder.named_parameters():
        assert id(value) in learning or torch.equal(new[name], value), name
    assert cached.outcome.curve[0].train_loss != cached.outcome.curve[1].train_loss


def test_gradual_unfreezing_reads_the_states_of_each_epochs_depth(
    tiny_text_backbone, tiny_task
) -> None:
    task, backbone = tiny_task(rows=16), tiny_text_backbone(depth=2)
    recipe = dataclasses.replace(RECIPE, freezing="gradual", epochs=4)
    cache = PrefixCache(task, backbone, recipes=[recipe])
    run = fine_tune(task, backbone, recipe, cache=cache)
    feeds = [
        open_feed(cache, "validation", recipe, _compute_of(run), epoch) for epoch in range(1, 5)
    ]
    assert [feed.frozen_blocks for feed in feeds] == [2, 1, 0, 0]
    assert [feed.features is not None for feed in feeds] == [True, False, False, False]
    assert [feed.states is not None for feed in feeds] == [False, True, False, False]


def _compute_of(run):
    from metaft.finetuning.device import Compute

    return Compute(run.outcome.device, run.outcome.precision)
