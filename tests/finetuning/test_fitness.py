from __future__ import annotations

import dataclasses
import logging

import pytest

from metaft.errors import RecipeError
from metaft.finetuning.fitness import check_fit
from metaft.finetuning.loop import fine_tune
from metaft.recipes import Recipe


@pytest.mark.parametrize(
    ("kind", "fields", "problem"),
    [
        ("classification", {"augmentation": "flip+crop"}, "allowed there are synonyms"),
        ("image_classification", {"augmentation": "swap"}, "allowed there are crop"),
        ("regression", {"label_smoothing": 0.1}, "it has no classes"),
        ("regression", {"class_weights": "balanced"}, "it has no classes"),
        ("ner", {"augmentation": "swap"}, "stand at places of the text"),
        ("qa", {"augmentation": "deletion"}, "stand at places of the text"),
    ],
)
def test_what_makes_no_sense_for_a_task_is_refused(
    tiny_text_backbone, tiny_task, kind, fields: dict, problem: str
) -> None:
    task = tiny_task(kind=kind)
    with pytest.raises(RecipeError, match=problem):
        check_fit(Recipe(**fields), task, tiny_text_backbone())


def test_alternate_freezing_needs_blocks_to_alternate(tiny_text_backbone, tiny_task) -> None:
    recipe = Recipe(freezing="alternate", frozen_fraction=0.5)
    with pytest.raises(RecipeError, match="freezes 1 of the 1 blocks"):
        fine_tune(tiny_task(), tiny_text_backbone(depth=1), recipe)
    check_fit(recipe, tiny_task(), tiny_text_backbone(depth=2))


def test_the_last_blocks_are_one_at_least(tiny_text_backbone, tiny_task) -> None:
    recipe = Recipe(freezing="last", frozen_fraction=0.2)
    with pytest.raises(RecipeError, match="freezes 0 of the 2 blocks"):
        fine_tune(tiny_task(), tiny_text_backbone(), recipe)
    check_fit(recipe, tiny_task(), tiny_text_backbone(depth=3))
    whole = dataclasses.replace(recipe, frozen_fraction=1.0)
    check_fit(whole, tiny_task(), tiny_text_backbone())


@pytest.mark.parametrize("steps", [0, 3, 4])
def test_a_warmup_within_the_run_is_let_be(tiny_text_backbone, tiny_task, steps: int) -> None:
    recipe = Recipe(warmup_steps=steps, epochs=1, batch_size=8)
    check_fit(recipe, tiny_task(rows=32), tiny_text_backbone())


def test_a_warmup_longer_than_the_run_is_refused(tiny_text_backbone, tiny_task) -> None:
    recipe = Recipe(warmup_steps=5, epochs=1, batch_size=8)
    message = (
        "warmup_steps is 5, but the run has 4 steps \\(32 training rows, batch_size 8, epochs 1"
    )
    with pytest.raises(RecipeError, match=message):
        fine_tune(tiny_task(rows=32), tiny_text_backbone(), recipe)
    check_fit(dataclasses.replace(recipe, epochs=2), tiny_task(rows=32), tiny_text_backbone())


def test_a_warmup_in_steps_is_clamped_with_a_notice(
    tiny_text_backbone, tiny_task, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = Recipe(warmup_steps=3, epochs=1, batch_size=8, max_length=32)
    with caplog.at_level(logging.WARNING, "metaft"):
        fine_tune(tiny_task(rows=32), tiny_text_backbone(), recipe)
    assert "warmup_steps is 3, but the run has 4 steps: the rate rises over 2" in caplog.text
