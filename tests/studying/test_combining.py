from __future__ import annotations

from metaft.studying.combining import LeftOut, combine, tell_problems

FREEZING = {"none": {}, "half": {"frozen_fraction": 0.5}}
SCHEDULE = {"constant": {}, "linear": {"schedule": "linear"}, "cosine": {"schedule": "cosine"}}


def test_levels_are_combined_in_full(card_of) -> None:
    variant = card_of(factors={"freezing": FREEZING, "schedule": SCHEDULE}).small
    grid = combine(variant, "text")
    assert len(grid.recipes) == 6
    assert next(iter(grid.recipes)) == ("none", "constant")
    both = grid.recipes["half", "cosine"]
    assert (both.frozen_fraction, both.schedule, both.epochs) == (0.5, "cosine", 1)


def test_one_at_a_time_changes_one_factor(card_of) -> None:
    factors = {"freezing": FREEZING, "schedule": SCHEDULE}
    grid = combine(card_of(factors=factors, one_at_a_time=True).small, "text")
    assert set(grid.recipes) == {
        ("none", "constant"),
        ("half", "constant"),
        ("none", "linear"),
        ("none", "cosine"),
    }


def test_levels_may_be_other_ones_for_images_or_none(card_of) -> None:
    levels = {
        "low": {"text": {"learning_rate": 1e-5}, "image": {"learning_rate": 1e-4}},
        "flip": {"image": {"augmentation": "flip"}},
    }
    variant = card_of(factors={"rate": levels}).small
    assert combine(variant, "text").recipes["low",].learning_rate == 1e-5
    assert combine(variant, "image").recipes["low",].learning_rate == 1e-4
    assert combine(variant, "image").recipes["flip",].augmentation == "flip"
    assert combine(variant, "text").problems == {("flip",): "the card sets it for images alone"}


def test_levels_that_contradict_each_other_are_left_out(card_of) -> None:
    factors = {
        "optimizer": {"adamw": {}, "free": {"optimizer": "schedule_free"}},
        "schedule": SCHEDULE,
    }
    grid = combine(card_of(factors=factors).small, "text")
    assert ("free", "constant") in grid.recipes
    assert set(grid.problems) == {("free", "linear"), ("free", "cosine")}


def test_problems_are_told_once_per_reason() -> None:
    levels_of = {"a": ("a1", "a2"), "b": ("b1", "b2", "b3")}
    problems = {("a2", "b1"): "no", ("a2", "b2"): "no", ("a2", "b3"): "no", ("a1", "b3"): "never"}
    assert tell_problems("task", problems, levels_of) == [
        LeftOut("task", "a: a2", "no"),
        LeftOut("task", "a: a1; b: b3", "never"),
    ]
