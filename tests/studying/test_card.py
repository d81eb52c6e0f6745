from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from metaft.errors import StudyError
from metaft.files import shipped_folder
from metaft.prior.screened import SCREENED_FIELDS
from metaft.recipes import FIELDS, HALF_FROZEN, Recipe, design
from metaft.studying.card import SIZES, find_card, read_card, shipped_studies, studies_folder
from metaft.studying.combining import combine
from metaft.studying.plan import tasks_of
from metaft.tasks.card import sharing_texts_with
from metaft.tasks.select import card_named, forbidden_in_shipped_priors

STUDIES = (
    "adaptive-rates",
    "augmentation",
    "freezing-schedules-augmentation",
    "low-resource-transfer",
    "meta-learning",
    "screening",
)
CARD: dict[str, Any] = {
    "title": "A title",
    "question": "A question?",
    "source": "Made up",
    "full": {
        "tasks": ["sms_spam"],
        "rows": 64,
        "seeds": 1,
        "factors": {"freezing": {"none": {}, "half": {"frozen_fraction": 0.5}}},
    },
    "small": {
        "tasks": "sms_spam, sotu_party",
        "rows": 64,
        "seeds": 1,
        "methods": ["plain", "learned"],
    },
}


def _read(tmp_path: Path, card: Any) -> Any:
    path = tmp_path / "card.yaml"
    path.write_text(yaml.safe_dump(card, sort_keys=False))
    return read_card(path)


def test_every_study_ships() -> None:
    assert shipped_studies() == STUDIES


def test_the_wheel_holds_the_studies() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["tasks"] == "metaft/shipped/tasks"  # A folder comes with all that is in it.
    assert studies_folder().parent == shipped_folder("tasks")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", STUDIES)
def test_every_variant_of_every_card_expands(name: str, size: Any) -> None:
    variant = find_card(name).variant(size)
    tasks = tasks_of(variant)
    assert len(tasks) >= 6  # With fewer Wilcoxon's test cannot reach .05.
    modalities = {card_named(task).modality for task in tasks}
    for modality in modalities:
        if variant.factors:
            grid = combine(variant, modality)
            assert grid.recipes
            assert all("sets it for" in why for why in grid.problems.values())
        else:
            assert variant.base_recipe(modality)


def test_screening_changes_one_field_of_a_recorded_recipe() -> None:
    """What a prior makes of its runs is told by metaft.prior.screening."""
    base = {
        "text": HALF_FROZEN.extended(6),
        "image": Recipe(
            learning_rate=7e-5,
            frozen_fraction=0.5,
            epochs=6,
            batch_size=8,
            warmup_fraction=0.05,
            head_init="linear_probe",
        ),
    }
    variant = find_card("screening").full
    for modality, recipe in base.items():
        assert recipe in design(16, 6), "so the runs of the base are recorded already"
        recipes = list(combine(variant, modality).recipes.values())
        assert recipes[0] == recipe
        assert len(recipes) == 10
        for other in recipes[1:]:
            changed = [name for name in FIELDS if getattr(other, name) != getattr(recipe, name)]
            assert len(changed) == 1
            assert changed[0] in SCREENED_FIELDS


def test_screening_has_enough_tasks_that_a_shipped_prior_may_learn_from() -> None:
    tasks = tasks_of(find_card("screening").full)
    modalities = [card_named(task).modality for task in tasks]
    assert modalities.count("text") >= 20
    assert modalities.count("image") >= 8
    assert not [task for task in tasks if forbidden_in_shipped_priors(task)]
    assert not [task for task in tasks if sharing_texts_with(task) & set(tasks)]


@pytest.mark.parametrize("name", ["augmentation", "freezing-schedules-augmentation"])
def test_full_grids_have_the_numbers_of_the_studies(name: str) -> None:
    recipes = {
        modality: combine(find_card(name).full, modality).recipes.values()
        for modality in ("text", "image")
    }
    assert {one.learning_rate for one in recipes["text"]} == {1e-5, 3e-5, 5e-5}
    assert {one.learning_rate for one in recipes["image"]} == {1e-4, 1e-3, 1e-2}
    assert {one.batch_size for one in recipes["text"]} == {16, 32, 64}
    assert {one.epochs for one in recipes["image"]} == {3, 5, 10, 20}


def test_the_full_search_has_the_numbers_of_the_studies() -> None:
    space = find_card("low-resource-transfer").full.search_space
    assert space is not None
    assert space["text"].fields["learning_rate"] == (1e-5, 3e-5, 5e-5)
    assert space["image"].fields["learning_rate"] == (1e-4, 1e-3, 1e-2)
    assert space["text"].fields["epochs"] == (3, 5, 10, 20)


def test_a_card_is_read_as_it_stands(tmp_path: Path) -> None:
    card = _read(tmp_path, CARD)
    assert card.full.levels == {"freezing": ("none", "half")}
    assert card.small.levels == {"method": ("plain", "learned")}
    assert card.small.tasks == ("sms_spam", "sotu_party")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("titel",), "x", "'titel' is no field; the fields are title, .* Write title"),
        (("title",), "", "title is ''; allowed is a text"),
        (("question",), None, "the field 'question' is missing"),
        (("convergence",), "yes", "convergence is 'yes'; allowed is true or false"),
        (("full", "rows"), 0, "full: rows is 0; allowed is a whole number from 1"),
        (("full", "seeds"), True, "full: seeds is True; allowed is a whole number from 1 to 1000"),
        (("full", "tasks"), [], "full: tasks is \\[\\]; allowed is a selector or a list"),
        (("full", "backbones"), "minilm", "backbones is 'minilm'; allowed is a list"),
        (("full", "one_at_a_time"), 1, "one_at_a_time is 1; allowed is true or false"),
        (("full", "methods"), ["plain", "learned"], "it has both of factors and methods"),
        (("full", "factors"), None, "it has neither of factors and methods"),
        (("full", "factors", "freezing"), {"none": {}}, "allowed is two levels or more"),
        (
            ("full", "factors", "freezing", "half"),
            {"frozen_fractoin": 0.5},
            "freezing, half: 'frozen_fractoin' is no field of a recipe.* Write frozen_fraction",
        ),
        (
            ("full", "factors", "freezing", "half"),
            {"text": {"frozen_fraction": 2}},
            "freezing, half: frozen_fraction is 2.0; allowed is a number from 0 to 1",
        ),
        (("full", "factors", "freezing", "half"), {"seed": 3}, "seeds of a study are counted"),
        (
            ("full", "factors", "freezing", "half"),
            {"freezing": "embeddings", "frozen_fraction": 0.5},
            "freezing, half: freezing is 'embeddings' and frozen_fraction 0.5, which name two",
        ),
        (("full", "base"), {"schedule": "cosin"}, "schedule is 'cosin'.*cosine"),
        (("full", "base"), ["epochs"], "base is \\['epochs'\\]; allowed is field: value"),
        (("full", "base"), {"image": 3}, "base, image is 3; allowed is field: value"),
        (("small", "methods"), ["plain"], "methods is \\['plain'\\]; allowed is two different"),
        (("small", "methods"), ["plain", "leraned"], "'leraned' is no method.* Write learned"),
        (("small", "methods"), ["plain", "search-grid-0"], "'search-grid-0' is no method"),
        (("small", "methods"), ["plain", "search-grid-N"], "'search-grid-N' is no method"),
        (("small", "search_space"), {"epochs": []}, "epochs has no values"),
        (("small", "search_space"), 3, "search_space is 3; allowed is"),
        (("small", "recipes"), {"mine": {"learning_rate": "high"}}, "recipes, mine: learning_rate"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(
    tmp_path: Path, place: tuple[str, ...], value: Any, message: str
) -> None:
    card: Any = copy.deepcopy(CARD)
    inner = card
    for key in place[:-1]:
        inner = inner[key]
    if value is None:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    with pytest.raises(StudyError, match=f"(?s){message}"):
        _read(tmp_path, card)


def test_a_rate_may_be_left_to_the_prior_in_own_methods_alone(tmp_path: Path) -> None:
    card = copy.deepcopy(CARD)
    card["small"] |= {"methods": ["plain", "mine"], "recipes": {"mine": {"learning_rate": "prior"}}}
    assert _read(tmp_path, card).small.methods == ("plain", "mine")
    card["full"]["base"] = {"learning_rate": "prior"}
    with pytest.raises(StudyError, match="learning_rate is 'prior'"):
        _read(tmp_path, card)


@pytest.mark.parametrize("content", ["- a\n- b\n", "title: [", ""])
def test_a_file_that_is_no_card_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "card.yaml"
    path.write_text(content)
    with pytest.raises(StudyError):
        read_card(path)


def test_an_unknown_study_is_answered_with_the_nearest() -> None:
    with pytest.raises(StudyError, match=r"no study 'augmentaton'.*Write augmentation"):
        find_card("augmentaton")
    with pytest.raises(StudyError, match=r"the study card nowhere\.yaml cannot be read"):
        find_card("nowhere.yaml")
