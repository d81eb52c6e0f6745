from __future__ import annotations

import dataclasses
import json

import pytest

from metaft.prior import screening as screening_module
from metaft.prior.adopting import adopt
from metaft.prior.choice import Limits
from metaft.prior.described import Described
from metaft.prior.screened import Screening
from metaft.prior.screening import find_pairs, screen
from metaft.recipes import HALF_FROZEN, Recipe

ROW = Described("new", "7" * 16, "classification", "accuracy", "tiny/bert", 512, values={})


@pytest.fixture(scope="module")
def screened(make_screening):
    """Return a function: field that gains -> what screening says."""

    def build(field: str = "") -> Screening:
        return screen(find_pairs(make_screening(12, gains={field: 2.0}), "text"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screening_module, "CONTROLS", 2)
        yield build


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schedule", "cosine"),
        ("freezing", "alternate"),
        ("augmentation", "deletion"),
        ("label_smoothing", 0.1),
    ],
)
def test_an_adopted_level_is_applied(screened, field: str, value: object) -> None:
    found = adopt(screened(field), HALF_FROZEN, ROW)
    assert found.recipe == dataclasses.replace(HALF_FROZEN, **{field: value})
    answer = found.to_mapping()
    assert answer["applied"] == {"field": field, "value": value}
    assert answer["best"]["field"] == field
    assert f"{field}={value}: +" in answer["said"]
    assert "over 12 tasks at 512 rows on tiny/bert" in answer["said"]
    assert "the prediction is of the recipe without it" in answer["said"]
    assert ("times the time" in answer["said"]) == (field in ("freezing", "augmentation"))
    json.dumps(answer, allow_nan=False)


def test_where_nothing_is_adopted_the_plain_values_stay(screened) -> None:
    found = adopt(screened(), HALF_FROZEN, ROW)
    assert found.recipe == HALF_FROZEN
    assert found.to_mapping()["applied"] is None
    assert "none of 4 screened levels is shown to help" in found.said
    assert found.best.name in found.said
    assert "Holm p" in found.said


@pytest.mark.parametrize(
    ("field", "changes", "why"),
    [
        ("schedule", {"schedule": "linear"}, "the recipe has schedule=linear already"),
        ("freezing", {"frozen_fraction": 0.25}, "measured with frozen_fraction 0.5"),
        ("freezing", {"frozen_fraction": 0.0}, "the recipe has 0: freezing stays plain"),
        (
            "schedule",
            {"optimizer": "schedule_free"},
            "optimizer is 'schedule_free', which has a schedule of its own",
        ),
    ],
)
def test_a_recipe_that_it_does_not_fit_stays(screened, field, changes, why) -> None:
    recipe = dataclasses.replace(HALF_FROZEN, **changes)
    found = adopt(screened(field), recipe, ROW)
    assert (found.recipe, found.applied) == (recipe, None)
    assert why in found.said


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": "pair_classification"}, "on tasks of the kind classification alone"),
        ({"kind": "ner"}, "on tasks of the kind classification alone"),
        ({"train_rows": 32}, "32 training rows are too far from the 512"),
        ({"train_rows": 4096}, "4,096 training rows are too far from the 512"),
    ],
)
def test_a_task_that_it_was_not_measured_for_keeps_its_recipe(screened, changes, why) -> None:
    found = adopt(screened("augmentation"), HALF_FROZEN, dataclasses.replace(ROW, **changes))
    assert (found.recipe, found.applied) == (HALF_FROZEN, None)
    assert why in found.said


@pytest.mark.parametrize("rows", [128, 2048])
def test_sizes_nearby_take_it_over(screened, rows: int) -> None:
    found = adopt(screened("schedule"), HALF_FROZEN, dataclasses.replace(ROW, train_rows=rows))
    assert found.applied


@pytest.mark.parametrize("asked", [{"goal": "cost"}, {"limits": Limits(seconds=60)}])
def test_what_costs_something_is_not_applied_where_costs_count(screened, asked) -> None:
    found = adopt(screened("augmentation"), HALF_FROZEN, ROW, **asked)
    assert found.recipe == HALF_FROZEN
    assert "what it costs is not predicted" in found.said
    assert adopt(screened("label_smoothing"), HALF_FROZEN, ROW, **asked).applied


def test_other_fields_of_the_recipe_stay(screened) -> None:
    recipe = Recipe(learning_rate=1e-4, epochs=4, max_length=256)
    assert adopt(screened("label_smoothing"), recipe, ROW).recipe == dataclasses.replace(
        recipe, label_smoothing=0.1
    )
