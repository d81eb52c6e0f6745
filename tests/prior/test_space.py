from __future__ import annotations

from metaft.prior.space import Space, cuts_of
from metaft.recipes import NAMED, PLAIN, Recipe, design


def test_named_recipes_are_always_candidates() -> None:
    space = Space.of([Recipe(learning_rate=2e-3, epochs=2)])
    assert set(NAMED.values()) <= set(space.cells)
    assert space.cells[space.plain] == PLAIN


def test_order_does_not_matter() -> None:
    recipes = design(8, 4)
    assert Space.of(recipes).cells == Space.of(reversed(recipes)).cells


def test_a_family_is_one_curve() -> None:
    space = Space.of(design(12, 6))
    assert len(space) == 72
    sizes = {(space.families == family).sum() for family in set(space.families.tolist())}
    assert sizes == {6}


def test_a_longer_curve_of_the_same_recipe_is_the_same_family() -> None:
    space = Space.of([PLAIN.extended(4), PLAIN.extended(6)])
    family = space.families[space.plain]
    assert (space.families == family).sum() == 6


def test_a_linear_schedule_cannot_be_cut() -> None:
    assert len(cuts_of(Recipe(schedule="linear", epochs=5))) == 1
    assert len(cuts_of(Recipe(epochs=5))) == 5
