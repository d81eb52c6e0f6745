from __future__ import annotations

import pytest

from metaft.prior.encoding import (
    RECIPE_INPUTS,
    UNKNOWN_FIELDS,
    encode_recipes,
    is_told_apart,
)
from metaft.recipes import FIELDS, Recipe


def _encoded(recipe: Recipe, train_rows: int) -> dict[str, float]:
    return dict(zip(RECIPE_INPUTS, encode_recipes([recipe], train_rows)[0], strict=True))


def test_by_hand() -> None:
    recipe = Recipe(learning_rate=1e-4, epochs=4, batch_size=32, head_init="linear_probe")
    encoded = _encoded(recipe, 100)  # 4 steps an epoch
    assert encoded["log10_learning_rate"] == pytest.approx(-4)
    assert encoded["log2_steps"] == pytest.approx(4)
    assert encoded["log10_distance"] == pytest.approx(-4 + 1.20412, abs=1e-5)
    assert encoded["warmup_epochs"] == pytest.approx(0.4)
    assert encoded["is_linear_probe"] == 1.0
    assert encoded["is_linear_schedule"] == 0.0
    assert encoded["log2_epochs"] == 2.0
    assert encoded["is_head_alone"] == 0.0


def test_more_rows_are_more_steps() -> None:
    assert _encoded(Recipe(), 1024)["log2_steps"] == _encoded(Recipe(), 512)["log2_steps"] + 1


@pytest.mark.parametrize(
    "settings",
    [
        {"augmentation": "swap"},
        {"schedule": "cosine"},
        {"freezing": "last", "frozen_fraction": 0.5},
        {"label_smoothing": 0.1},
        {"optimizer": "sgd"},
        {"head": "crf"},
        {"class_weights": "balanced"},
        {"max_gradient_norm": 0.1},
        {"image_size": 128},
    ],
)
def test_recipes_that_would_look_alike_are_known(settings: dict[str, object]) -> None:
    usual = Recipe()
    assert is_told_apart(usual)
    assert is_told_apart(usual.with_settings({"schedule": "linear", "frozen_fraction": 0.5}))
    assert not is_told_apart(usual.with_settings(settings))


def test_every_field_is_told_or_known_to_be_untold() -> None:
    told = {
        *("learning_rate", "frozen_fraction", "epochs", "batch_size", "weight_decay", "dropout"),
        *("warmup_fraction", "schedule", "head_init", "max_length"),
    }
    only_with_others = {
        *("unfreeze_epochs", "schedule_cycles", "schedule_power", "lookahead_steps"),
        *("decay_threshold", "decay_factor", "augmentation_strength"),
    }
    of_the_machine = {"precision", "seed"}  # Where it is auto, the machine picks it.
    assert set(FIELDS) == told | only_with_others | of_the_machine | set(UNKNOWN_FIELDS)
