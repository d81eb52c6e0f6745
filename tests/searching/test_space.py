from __future__ import annotations

from pathlib import Path

import pytest

from metaft.errors import RecipeError
from metaft.recipes import PLAIN, Recipe
from metaft.searching.space import Range, SearchSpace, usual_space


def test_a_space_is_read_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "learning_rate: {low: 1e-5, high: 1e-3, log: true}\n"
        "batch_size: [8, 16]\nfreezing: [first, alternate, gradual]\n"
        "schedule: cosine\nwarmup_steps: [null, 500]\n"
    )
    space = SearchSpace.load(path)
    assert space.fields == {
        "learning_rate": Range(1e-5, 1e-3, is_log=True),
        "batch_size": (8, 16),
        "freezing": ("first", "alternate", "gradual"),
        "schedule": ("cosine",),
        "warmup_steps": (None, 500),
    }


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "names no fields"),
        ({"learning_rat": [1e-4]}, "Write learning_rate"),
        ({"learning_rate": []}, "has no values"),
        ({"learning_rate": ["fast"]}, "learning_rate is 'fast'"),
        ({"learning_rate": {"low": 1e-3, "high": 1e-5}}, "rising numbers"),
        ({"learning_rate": {"from": 1e-3}}, "a range has low, high"),
        ({"batch_size": {"low": 8, "high": 16}}, "no whole ones"),
        ({"weight_decay": {"low": 0.0, "high": 0.1, "log": True}}, "no logarithm"),
        ({"schedule": ["cosin"]}, "Set schedule to cosine"),
        ({"learning_rate": [1e-4], "seed": [0, 1]}, "seed is varied in space.yaml"),
    ],
)
def test_what_is_no_space_is_refused(values: dict, problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        SearchSpace.from_mapping(values, "space.yaml")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        SearchSpace.load(tmp_path / "nothing.yaml")


def test_a_grid_is_every_combination_but_contradictions() -> None:
    space = SearchSpace({"freezing": ("first", "last"), "frozen_fraction": (0.0, 0.5)})
    assert [(r.freezing, r.frozen_fraction) for r in space.grid(PLAIN)] == [
        ("first", 0.0),
        ("first", 0.5),
        ("last", 0.5),
    ]
    with pytest.raises(RecipeError, match="a grid needs its values"):
        list(usual_space("text", "tpe").grid(PLAIN))


def test_the_place_of_a_recipe_is_the_nearest_in_the_space() -> None:
    space = SearchSpace(
        {
            "learning_rate": Range(1e-5, 1e-3, is_log=True),
            "batch_size": (8, 32),
            "schedule": ("linear", "cosine"),
        }
    )
    place = space.place_of(Recipe(learning_rate=1e-2, batch_size=16, schedule="constant"))
    assert place == {"learning_rate": 1e-3, "batch_size": 8, "schedule": "linear"}


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe", "asha"])
@pytest.mark.parametrize("modality", ["text", "image"])
def test_the_usual_spaces_hold_recipes(modality, sampler: str) -> None:
    space = usual_space(modality, sampler)
    assert space.distributions().keys() == space.fields.keys()
    if sampler == "grid":
        assert len(list(space.grid(PLAIN))) == 27
    for name, values in space.fields.items():
        for value in (values.low, values.high) if isinstance(values, Range) else values:
            PLAIN.with_settings({name: value})
