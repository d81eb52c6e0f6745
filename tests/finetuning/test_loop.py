from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from metaft.backbones.text import TextBackbone
from metaft.errors import TaskError
from metaft.finetuning import loop
from metaft.finetuning.loop import fine_tune
from metaft.recipes import Recipe

RECIPE = Recipe(
    learning_rate=1e-2, epochs=8, batch_size=8, precision="fp32", max_length=32, image_size=32
)


@pytest.mark.parametrize("kind", ["classification", "pair_classification", "image_classification"])
def test_it_learns(tiny_text_backbone, tiny_image_backbone, tiny_task, kind: str) -> None:
    task = tiny_task(rows=64, kind=kind)
    is_image = kind == "image_classification"
    backbone = tiny_image_backbone() if is_image else tiny_text_backbone()
    recipe = dataclasses.replace(RECIPE, learning_rate=1e-3) if is_image else RECIPE
    tuned = fine_tune(task, backbone, recipe, test_every_epoch=True)
    outcome = tuned.outcome
    assert outcome.status == "ok"
    assert outcome.test["accuracy"] > 0.8
    assert [record.epoch for record in outcome.curve] == list(range(1, 9))
    assert outcome.curve[-1].train_loss < outcome.curve[0].train_loss
    assert outcome.test == outcome.curve[outcome.best_epoch - 1].test


def test_random_labels_cannot_be_learned(tiny_text_backbone, tiny_task) -> None:
    task = tiny_task(rows=64)
    rng = np.random.default_rng(0)
    task = task.replaced(
        **{
            name: dataclasses.replace(split, labels=rng.permutation(split.labels))
            for name, split in (("train", task.train), ("test", task.test))
        }
    )
    outcome = fine_tune(task, tiny_text_backbone(), RECIPE).outcome
    assert 0.25 < outcome.test["accuracy"] < 0.75


def test_a_regression_answers_in_the_units_of_its_targets(tiny_text_backbone, tiny_task) -> None:
    task = tiny_task(rows=192, kind="regression")
    far = {
        name: dataclasses.replace(split, labels=100 + 10 * split.labels)
        for name, split in (("train", task.train), ("validation", task.validation))
    }
    task = task.replaced(**far, test=far["validation"])
    tuned = fine_tune(task, tiny_text_backbone(), RECIPE)
    assert tuned.model is not None
    assert tuned.outcome.test["pearson"] > 0.9
    assert tuned.outcome.test["loss"] < 25.0
    examples = tuned.model.backbone.encode(task.test, max_length=32, image_size=32)
    batch = tuned.model.backbone.collate(examples, range(len(examples)))
    with torch.no_grad():
        answers = tuned.model(batch)[:, 0].numpy()
    assert np.mean((answers - task.test.labels) ** 2) == pytest.approx(
        tuned.outcome.test["loss"], rel=1e-3
    )


def test_the_pretrained_backbone_stays_as_it_is(tiny_text_backbone, tiny_task) -> None:
    backbone = tiny_text_backbone()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    fine_tune(tiny_task(), backbone, RECIPE)
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


@pytest.mark.parametrize(("fraction", "frozen"), [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_frozen_blocks_do_not_move(
    tiny_text_backbone, tiny_task, fraction: float, frozen: int
) -> None:
    backbone = tiny_text_backbone(depth=4)
    recipe = dataclasses.replace(RECIPE, frozen_fraction=fraction, weight_decay=0.1)
    model = fine_tune(tiny_task(), backbone, recipe).model
    assert model is not None

    def moved(new: torch.nn.Module, old: torch.nn.Module) -> bool:
        pairs = zip(new.parameters(), old.parameters(), strict=True)
        return any(not torch.equal(a, b) for a, b in pairs)

    blocks = zip(model.backbone.blocks(), backbone.blocks(), strict=True)
    assert [moved(*pair) for pair in blocks] == [False] * frozen + [True] * (4 - frozen)
    stems = zip(model.backbone.stem(), backbone.stem(), strict=True)
    assert any(moved(*pair) for pair in stems) == (fraction == 0)


def test_the_same_seed_gives_the_same_run(tiny_text_backbone, tiny_task) -> None:
    def losses(seed: int) -> list[float]:
        recipe = dataclasses.replace(RECIPE, seed=seed)
        outcome = fine_tune(tiny_task(), tiny_text_backbone(), recipe, deterministic=True).outcome
        return [record.train_loss for record in outcome.curve]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_a_run_leaves_the_callers_random_state_alone(tiny_text_backbone, tiny_task) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    fine_tune(tiny_task(rows=16), tiny_text_backbone(), RECIPE)
    assert torch.equal(torch.rand(3), expected)


def test_a_longer_run_under_a_constant_rate_holds_the_shorter_one(
    tiny_text_backbone, tiny_task
) -> None:
    long = dataclasses.replace(RECIPE, epochs=3).extended(6)
    curves = [
        [
            record.train_loss
            for record in fine_tune(tiny_task(), tiny_text_backbone(), r).outcome.curve
        ]
        for r in (long, long.truncated(2))
    ]
    assert curves[0][:2] == pytest.approx(curves[1], rel=1e-6)


def test_divergence_is_an_outcome(
    tiny_text_backbone, tiny_task, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So tiny a model hovers around the real factor under the highest rate that is allowed.
    monkeypatch.setattr(loop, "_DIVERGED_FACTOR", 2.0)
    recipe = dataclasses.replace(RECIPE, learning_rate=1.0, max_gradient_norm=1e6)
    tuned = fine_tune(tiny_task(), tiny_text_backbone(), recipe)
    assert tuned.outcome.status == "diverged"
    assert "guessing gives" in tuned.outcome.reason
    assert (tuned.model is None) == (tuned.outcome.best_epoch == 0)


def test_nan_is_divergence(tiny_text_backbone, tiny_task) -> None:
    backbone = tiny_text_backbone()
    with torch.no_grad():
        next(iter(backbone.blocks()[0].parameters())).fill_(float("nan"))
    outcome = fine_tune(tiny_task(), backbone, RECIPE).outcome
    assert outcome.status == "diverged"
    assert outcome.curve == ()
    assert outcome.best_epoch == 0


def test_running_out_of_memory_is_an_outcome(
    tiny_text_backbone, tiny_task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def allocate(*_: object) -> None:
        torch.empty(1 << 60)  # The allocator's own error.

    monkeypatch.setattr(loop.Stepper, "step", allocate)
    outcome = fine_tune(tiny_task(), tiny_text_backbone(), RECIPE).outcome
    assert outcome.status == "out_of_memory"
    assert outcome.reason


def test_memory_errors_without_a_message_are_an_outcome_too(
    tiny_text_backbone, tiny_task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def allocate(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(loop.Stepper, "step", allocate)
    outcome = fine_tune(tiny_task(), tiny_text_backbone(), RECIPE).outcome
    assert (outcome.status, outcome.reason) == ("out_of_memory", "MemoryError")


def test_running_out_of_memory_over_the_test_rows_does_not_lose_the_model(
    tiny_text_backbone, tiny_task, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = loop.OpenRun._score

    def limited(run: loop.OpenRun, split: str, epoch: int):
        if split == "test":
            torch.empty(1 << 60)
        return score(run, split, epoch)

    monkeypatch.setattr(loop.OpenRun, "_score", limited)
    recipe = dataclasses.replace(RECIPE, epochs=1)
    tuned = fine_tune(tiny_task(), tiny_text_backbone(), recipe)
    assert tuned.model is not None
    assert tuned.outcome.status == "out_of_memory"
    assert tuned.outcome.reason
    assert tuned.outcome.test.keys() == tuned.outcome.validation.keys()
    assert all(math.isnan(score) for score in tuned.outcome.test.values())


@pytest.mark.parametrize("test_every_epoch", [False, True])
def test_a_single_test_row_has_no_halves(
    tiny_text_backbone, tiny_task, test_every_epoch: bool
) -> None:
    task = tiny_task(rows=16)
    task = task.replaced(test=task.test.take([0]))
    recipe = dataclasses.replace(RECIPE, epochs=1)
    outcome = fine_tune(
        task, tiny_text_backbone(), recipe, test_every_epoch=test_every_epoch
    ).outcome
    assert outcome.test["accuracy"] in (0.0, 1.0)
    assert outcome.curve[0].test_halves == ()


def test_patience_stops_early(tiny_text_backbone, tiny_task) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=50, early_stopping_patience=2)
    outcome = fine_tune(tiny_task(rows=32), tiny_text_backbone(), recipe).outcome
    assert len(outcome.curve) == outcome.best_epoch + 2 < 50


def test_the_model_is_the_one_after_the_best_epoch(tiny_text_backbone, tiny_task) -> None:
    task = tiny_task(rows=48)
    tuned = fine_tune(task, tiny_text_backbone(), dataclasses.replace(RECIPE, epochs=8))
    assert tuned.model is not None
    examples = tuned.model.backbone.encode(task.validation, max_length=32, image_size=32)
    batch = tuned.model.backbone.collate(examples, range(len(examples)))
    with torch.no_grad():
        predicted = tuned.model(batch).argmax(1).numpy()
    accuracy = (predicted == task.validation.labels).mean()
    assert accuracy == pytest.approx(tuned.outcome.validation["accuracy"])


def test_the_probe_head_starts_ahead(tiny_text_backbone, tiny_task) -> None:
    task = tiny_task(rows=64)
    slow = dataclasses.replace(RECIPE, learning_rate=1e-6, epochs=1, frozen_fraction=1.0)
    scores = [
        fine_tune(
            task, tiny_text_backbone(), dataclasses.replace(slow, head_init=init)
        ).outcome.validation["loss"]
        for init in ("random", "linear_probe")
    ]
    assert scores[1] < scores[0]


def test_a_backbone_of_the_wrong_modality_is_refused(tiny_image_backbone, tiny_task) -> None:
    with pytest.raises(TaskError, match="takes images"):
        fine_tune(tiny_task(), tiny_image_backbone(), RECIPE)


def test_a_trimmed_vocabulary_changes_no_number(
    tiny_text_backbone, tiny_task, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, recipe = tiny_task(), dataclasses.replace(RECIPE, epochs=2, weight_decay=0.1)
    trimmed = fine_tune(task, tiny_text_backbone(), recipe, test_every_epoch=True)
    monkeypatch.setattr(TextBackbone, "trim_vocabulary", lambda *_: None)
    whole = fine_tune(task, tiny_text_backbone(), recipe, test_every_epoch=True)
    for mine, other in zip(trimmed.outcome.curve, whole.outcome.curve, strict=True):
        assert mine.train_loss == pytest.approx(other.train_loss, rel=1e-6)
        assert mine.validation == pytest.approx(other.validation, rel=1e-5)
    assert trimmed.model is not None
    assert whole.model is not None
    states = trimmed.model.state_dict(), whole.model.state_dict()
    assert list(states[0]) == list(states[1])
    for name, value in states[0].items():
        if "word_embeddings" not in name:
            assert torch.allclose(value, states[1][name], atol=1e-6)


def test_words_that_no_row_uses_stay_as_they_were_pretrained(tiny_text_backbone, tiny_task) -> None:
    backbone = tiny_text_backbone()
    model = fine_tune(tiny_task(), backbone, RECIPE).model
    assert model is not None
    pretrained = backbone.model.get_input_embeddings().weight
    tuned = model.backbone.model.get_input_embeddings().weight
    moved = (tuned != pretrained).any(1)
    assert tuned.shape == pretrained.shape
    assert 0 < int(moved.sum()) < len(moved) / 2
