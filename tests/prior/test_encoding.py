from __future__ import annotations

import pytest

from metaft.prior.encoding import RECIPE_INPUTS, encode_recipes
from metaft.recipes import Recipe


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
