from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from metaft.backbones.backbone import Examples
from metaft.errors import RecipeError
from metaft.finetuning.loop import fine_tune
from metaft.finetuning.tagging import TagObjective, read_tags
from metaft.recipes import Recipe
from metaft.tasks.task import Split

RECIPE = Recipe(learning_rate=1e-2, epochs=6, batch_size=8, precision="fp32", max_length=32)
NAMES = ("O", "B-X", "I-X")


@pytest.mark.parametrize("head", ["linear", "crf"])
@pytest.mark.parametrize("frozen_fraction", [0.0, 0.5])
def test_tags_are_learned(tiny_task, tiny_text_backbone, head: str, frozen_fraction: float) -> None:
    recipe = RECIPE.with_settings({"head": head, "frozen_fraction": frozen_fraction})
    outcome = fine_tune(tiny_task(rows=64, kind="ner"), tiny_text_backbone(), recipe).outcome
    assert outcome.status == "ok"
    assert outcome.test["entity_f1"] > 0.9
    assert outcome.test["loss"] < 0.2


def test_a_probe_of_frozen_features_already_tags(tiny_task, tiny_text_backbone) -> None:
    recipe = RECIPE.with_settings(
        {"head_init": "linear_probe", "frozen_fraction": 1.0, "epochs": 1, "learning_rate": 1e-8}
    )
    task, backbone = tiny_task(rows=256, kind="ner"), tiny_text_backbone(width=64)
    random = dataclasses.replace(recipe, head_init="random")
    probed, by_chance = (
        fine_tune(task, backbone, each).outcome.test["entity_f1"] for each in (recipe, random)
    )
    assert probed > 0.9
    assert by_chance < 0.5


@pytest.mark.parametrize("frozen_fraction", [0.5, 1.0])
def test_cached_states_give_the_scores_of_uncached_ones(
    tiny_task, tiny_text_backbone, frozen_fraction: float
) -> None:
    from metaft.finetuning.prefix_cache import PrefixCache

    task, backbone = tiny_task(rows=32, kind="ner"), tiny_text_backbone()
    recipe = RECIPE.with_settings({"frozen_fraction": frozen_fraction, "epochs": 2})
    curves = [
        fine_tune(task, backbone, recipe, cache=PrefixCache(task, backbone, limit)).outcome.curve
        for limit in (None, 0)
    ]
    for cached, plain in zip(*curves, strict=True):
        assert cached.train_loss == pytest.approx(plain.train_loss, rel=1e-4)
        assert cached.validation == pytest.approx(plain.validation, rel=1e-4)


def test_words_that_were_cut_off_are_outside() -> None:
    logits = torch.zeros(1, 4, 3)
    logits[0, 1, 1] = logits[0, 2, 2] = 1.0
    places = [np.array([1, -1, 2, -1])]
    examples = Examples(columns={}, lengths=np.array([4]), places=places)
    (row,) = read_tags(logits, examples, np.array([0]), NAMES, right=[np.array([1, 1, 2, 0])])
    assert row.tags.tolist() == [1, 0, 2, 0]
    expected = torch.nn.functional.cross_entropy(logits[0, 1:3], torch.tensor([1, 2]))
    assert row.loss == pytest.approx(float(expected))


def test_a_words_score_is_that_of_its_first_token(tiny_task, tiny_text_backbone) -> None:
    task = tiny_task(rows=8, kind="ner")
    objective = TagObjective(task, RECIPE)
    backbone = tiny_text_backbone()
    examples = backbone.encode(task.train, max_length=64, image_size=0)
    model = objective.new_model(backbone)
    rows = np.array([2, 5])
    logits = torch.randn(2, int(examples.lengths.max()), 3)
    total, words = 0.0, 0
    for logits_of_row, row in zip(logits, rows, strict=True):
        starts = torch.from_numpy(examples.places[row])
        tags = torch.from_numpy(task.train.tags[row])
        total += float(
            torch.nn.functional.cross_entropy(logits_of_row[starts], tags, reduction="sum")
        )
        words += len(tags)

    class _Feed:
        pass

    feed = _Feed()
    feed.examples = examples
    assert float(objective.loss(model, logits, feed, rows)) == pytest.approx(total / words)


def test_tags_of_the_older_bio_are_allowed_where_they_are_usual(
    tiny_task, tiny_text_backbone
) -> None:
    task = tiny_task(rows=4, kind="ner")
    tags = tuple(np.array([0, 2, 2, 0]) for _ in range(4))
    older = dataclasses.replace(
        task.replaced(train=Split(labels=np.zeros(4), texts=task.train.texts, tags=tags)),
        label_names=NAMES,
    )
    chain = (
        TagObjective(older, dataclasses.replace(RECIPE, head="crf"))
        .new_model(tiny_text_backbone())
        .chain
    )
    assert chain is not None
    assert chain.bar_transitions[0, 2] == 0.0
    assert chain.bar_first[2] < 0.0


@pytest.mark.parametrize("scale", [1e4, float("nan")])
def test_a_chain_that_diverges_shows_it_in_its_loss(
    tiny_task, tiny_text_backbone, scale: float
) -> None:
    task = tiny_task(rows=8, kind="ner")
    objective = TagObjective(task, dataclasses.replace(RECIPE, head="crf"))
    backbone = tiny_text_backbone()
    examples = backbone.encode(task.train, max_length=64, image_size=0)
    model, rows = objective.new_model(backbone), np.array([2, 5])
    shape = 2, int(examples.lengths.max()), task.num_outputs
    wrong = torch.zeros(shape)
    wrong[:, :, 1] = scale  # The same entity begins at every word, which is allowed.
    loss = objective.loss(model, wrong, SimpleNamespace(examples=examples), rows)
    assert not float(loss) < 1e3
    read = objective.read(model, wrong, examples, rows, task.train)
    assert all(not row.loss < 1e3 for row in read)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("classification", {"head": "crf"}, "head is 'crf', but .* it has no tagged words"),
        ("ner", {"head": "crf", "label_smoothing": 0.1}, "a chain has whole rows of tags"),
        ("ner", {"class_weights": "balanced"}, "its rows have no class"),
        ("ner", {"augmentation": "swap"}, "stand at places of the text"),
        ("qa", {"label_smoothing": 0.1}, "it has no classes"),
    ],
)
def test_what_does_not_fit_is_refused(
    tiny_task, tiny_text_backbone, kind: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        fine_tune(tiny_task(kind=kind), tiny_text_backbone(), RECIPE.with_settings(settings))
