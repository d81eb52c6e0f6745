"""Recipes: what is allowed, what survives a file, which runs agree, and the shared design."""

from __future__ import annotations

import dataclasses
import itertools
import json
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metaft import recipes
from metaft.errors import RecipeError
from metaft.recipes import FIELDS, NAMED, PLAIN, Recipe, design

_BUDGETS = st.integers(1, 50)


_AUGMENTATIONS = st.just("none") | st.sampled_from(
    [recipes.TEXT_AUGMENTATIONS, recipes.IMAGE_AUGMENTATIONS]
).flatmap(lambda names: st.lists(st.sampled_from(names), min_size=1, unique=True).map("+".join))


def _values(name: str) -> st.SearchStrategy[Any]:
    """Draw every allowed value of a field."""
    kind = recipes._TYPES[name]
    if name == "augmentation":
        return _AUGMENTATIONS
    if name in recipes._CHOICES:
        return st.sampled_from(recipes._CHOICES[name])
    low, high = recipes._RANGES[name]
    if kind is float:
        return st.floats(low, high)
    whole = st.integers(int(low), int(high))
    return whole if kind is int else st.none() | whole


@st.composite
def _recipes(draw: st.DrawFn) -> Recipe:
    """Draw every field; what contradicts another one is drawn as its default."""
    values = draw(st.fixed_dictionaries({name: _values(name) for name in FIELDS}))
    try:
        return Recipe(**values)
    except RecipeError:
        return Recipe(**values | {"freezing": "first", "optimizer": "adamw"})


_RECIPES = _recipes()


def test_every_field_has_a_range_or_choices() -> None:
    assert {*recipes._RANGES, *recipes._CHOICES, "augmentation"} == set(FIELDS)


def test_plain_is_what_engineers_copy() -> None:
    assert (PLAIN.learning_rate, PLAIN.epochs, PLAIN.frozen_fraction) == (5e-5, 3, 0.0)


@given(_RECIPES)
def test_mapping_round_trip(recipe: Recipe) -> None:
    assert Recipe.from_mapping(recipe.to_mapping()) == recipe


@given(_RECIPES)
def test_json_round_trip(recipe: Recipe) -> None:
    assert Recipe.from_mapping(json.loads(json.dumps(recipe.to_mapping()))) == recipe


@given(_RECIPES)
def test_settings_written_as_text_round_trip(recipe: Recipe) -> None:
    texts = {name: str(value) for name, value in recipe.to_mapping().items()}
    assert PLAIN.with_settings(texts) == recipe


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(_RECIPES)
def test_file_round_trip(tmp_path: Path, recipe: Recipe) -> None:
    path = tmp_path / "recipe.yaml"
    recipe.save(path)
    assert Recipe.load(path) == recipe


def test_file_names_every_field_in_order(tmp_path: Path) -> None:
    PLAIN.save(tmp_path / "recipe.yaml")
    assert tuple(yaml.safe_load((tmp_path / "recipe.yaml").read_text())) == FIELDS


def test_missing_fields_take_their_defaults() -> None:
    assert Recipe.from_mapping({"epochs": 5}) == dataclasses.replace(PLAIN, epochs=5)


def test_file_with_plain_yaml_exponent_is_a_number(tmp_path: Path) -> None:
    """YAML 1.1 reads `1e-4` as text; people write it all the same."""
    (tmp_path / "recipe.yaml").write_text("learning_rate: 1e-4\n")
    assert Recipe.load(tmp_path / "recipe.yaml").learning_rate == 1e-4


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("learning_rate", 0.0, "a number from 1e-10 to 1"),
        ("learning_rate", float("nan"), "a number from 1e-10 to 1"),
        ("learning_rate", "fast", "a number from 1e-10 to 1"),
        ("frozen_fraction", 1.1, "a number from 0 to 1"),
        ("epochs", 0, "a whole number from 1 to 1000"),
        ("epochs", 2.5, "a whole number from 1 to 1000"),
        ("epochs", True, "a whole number from 1 to 1000"),
        ("epochs", None, "a whole number from 1 to 1000"),
        ("early_stopping_patience", 0, "a whole number from 1 to 1000"),
        ("seed", 10**400, "a whole number from 0 to"),
        ("seed", -1, "a whole number from 0 to"),
        ("schedule", "cosin", "one of constant, linear, cosine"),
        ("warmup_steps", 1.5, "a whole number from 0 to 1e+06"),
        ("head_init", 3, "one of random, linear_probe"),
    ],
)
def test_wrong_value_names_field_value_and_what_is_allowed(
    field: str, value: Any, allowed: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_mapping({field: value})
    assert f"{field} is {value!r}; allowed is {allowed}" in str(caught.value)


@pytest.mark.parametrize("build", [Recipe.from_mapping, PLAIN.with_settings])
def test_unknown_field_is_refused_with_the_known_ones(
    build: typing.Callable[[dict[str, Any]], Recipe],
) -> None:
    with pytest.raises(RecipeError, match=r"'lr' is no field of a recipe; .*learning_rate"):
        build({"lr": 1e-4})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"- 1\n", "holds list"),
        (b"", "holds NoneType"),
        (b"a: [", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_broken_file_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=problem):
        Recipe.load(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere\.yaml cannot be read"):
        Recipe.load(tmp_path / "nowhere.yaml")


def _free_of_its_budget(recipe: Recipe, epochs: int) -> Recipe:
    return dataclasses.replace(recipe, epochs=epochs, schedule="constant", warmup_steps=None)


def _warmup_steps(recipe: Recipe, steps_per_epoch: int = 60) -> float:
    return recipe.warmup_fraction * recipe.epochs * steps_per_epoch


@given(_RECIPES, _BUDGETS, _BUDGETS)
def test_extended_run_begins_as_the_shorter_one(recipe: Recipe, first: int, second: int) -> None:
    """Under a constant schedule the rate of a step depends on the warm-up's steps alone."""
    short, long = sorted((first, second))
    recipe = _free_of_its_budget(recipe, short)
    extended = recipe.extended(long)
    assert extended.epochs == long
    assert _warmup_steps(extended) == pytest.approx(_warmup_steps(recipe), abs=1e-6)


@given(_RECIPES, _BUDGETS, _BUDGETS)
def test_truncated_undoes_extended(recipe: Recipe, first: int, second: int) -> None:
    short, long = sorted((first, second))
    recipe = _free_of_its_budget(recipe, short)
    back = recipe.extended(long).truncated(short)
    assert back.warmup_fraction == pytest.approx(recipe.warmup_fraction, abs=1e-9)
    assert dataclasses.replace(back, warmup_fraction=recipe.warmup_fraction) == recipe


def test_truncated_inside_the_warmup_is_all_warmup() -> None:
    """The share cannot exceed 1, so such a run would peak early: it is the closest there is."""
    recipe = Recipe(epochs=10, warmup_fraction=0.5)
    assert recipe.truncated(2).warmup_fraction == 1.0


def test_truncated_to_its_own_budget_is_itself() -> None:
    recipe = Recipe(schedule="linear")
    assert recipe.truncated(recipe.epochs) is recipe


@pytest.mark.parametrize(
    ("recipe", "epochs"),
    [
        (Recipe(schedule="linear"), 2),
        (Recipe(schedule="adaptive"), 2),
        (Recipe(warmup_steps=10), 2),
        (Recipe(epochs=3), 4),
    ],
)
def test_truncation_that_would_lie_is_refused(recipe: Recipe, epochs: int) -> None:
    with pytest.raises(RecipeError, match="only a constant schedule can be cut short"):
        recipe.truncated(epochs)


@pytest.mark.parametrize("recipe", [Recipe(schedule="cosine"), Recipe(warmup_steps=10)])
def test_extension_that_would_lie_is_refused(recipe: Recipe) -> None:
    with pytest.raises(RecipeError, match="only a constant schedule can be extended"):
        recipe.extended(6)


@pytest.mark.parametrize(
    ("field", "value", "meant"),
    [
        ("schedule", "one-cycle", "Set schedule to one_cycle"),
        ("freezing", "Gradualy", "Set freezing to gradual"),
        ("augmentation", "swap+synonym", "Write synonyms"),
        ("learning_rat", 1, "Write learning_rate"),
    ],
)
def test_the_nearest_name_is_offered(field: str, value: Any, meant: str) -> None:
    with pytest.raises(RecipeError, match=meant):
        PLAIN.with_settings({field: value})


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"freezing": "alternate"}, "nothing would be frozen"),
        ({"freezing": "last"}, "nothing would be frozen"),
        ({"freezing": "embeddings", "frozen_fraction": 0.5}, "two things to freeze"),
        ({"freezing": "gradual", "frozen_fraction": 1}, "nothing would ever thaw"),
        ({"optimizer": "schedule_free", "schedule": "linear"}, "a schedule of its own"),
        ({"optimizer": "prodigy", "layer_rate_decay": 0.9}, "one rate"),
        ({"augmentation": "swap+flip"}, "texts and images"),
        ({"augmentation": "none+swap"}, "allowed is none, or"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(
    fields: dict[str, Any], problem: str
) -> None:
    with pytest.raises(RecipeError, match=problem):
        Recipe.from_mapping(fields)


def test_the_order_of_augmentations_makes_no_other_recipe() -> None:
    assert Recipe(augmentation="swap+synonyms") == Recipe(augmentation="synonyms + swap")
    assert Recipe(augmentation="swap+synonyms").augmentations == ("synonyms", "swap")
    assert Recipe().augmentations == ()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 12, 33])
def test_design_is_nested(count: int) -> None:
    assert design(count, epochs=6) == design(64, epochs=6)[:count]


def test_design_starts_with_the_named_recipes() -> None:
    assert [recipe.truncated(3) for recipe in design(3, epochs=6)] == list(NAMED.values())


def test_design_is_the_same_every_time_and_another_for_another_seed() -> None:
    assert design(12, epochs=6) == design(12, epochs=6)
    assert design(12, epochs=6) != design(12, epochs=6, seed=1)


def test_design_repeats_no_recipe() -> None:
    assert len(set(design(64, epochs=6))) == 64


def test_design_covers_the_space() -> None:
    """A quarter of the rates in every quarter of their logarithm, every choice taken."""
    drawn = design(64 + len(NAMED), epochs=6)[len(NAMED) :]
    edges = [1e-5 * 300 ** (quarter / 4) for quarter in range(5)]
    for low, high in itertools.pairwise(edges):
        inside = [recipe for recipe in drawn if low <= recipe.learning_rate <= high]
        assert len(inside) == pytest.approx(16, abs=2)
    assert {recipe.batch_size for recipe in drawn} == {8, 16, 32}
    assert {recipe.head_init for recipe in drawn} == {"random", "linear_probe"}
    assert {recipe.frozen_fraction for recipe in drawn} == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert {recipe.weight_decay for recipe in drawn} == {0.0, 0.01, 0.1}


def test_design_shares_budget_and_schedule() -> None:
    """So that the curve of each run answers for every smaller budget."""
    assert {(recipe.epochs, recipe.schedule) for recipe in design(16, epochs=6)} == {
        (6, "constant")
    }
