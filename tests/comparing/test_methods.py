from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from metaft.comparing.advice import Adviser
from metaft.comparing.choice import Choice
from metaft.comparing.methods import parse_methods
from metaft.errors import MissingExtraError, PriorError, RecipeError, UserError
from metaft.recipes import PLAIN, STEADY, Recipe
from metaft.searching.proposals import SearchWay

if TYPE_CHECKING:
    from tests.conftest import TaskFactory

    from metaft.tasks.task import Task


def _chosen(text: str, task: Task) -> dict[str, Recipe]:
    return {method.name: method.choose(task, "b", 8).recipe for method in parse_methods(text)}


def test_named_recipes_are_methods(tiny_task: TaskFactory) -> None:
    assert _chosen(" plain, steady,plain", tiny_task()) == {"plain": PLAIN, "steady": STEADY}


def test_recipe_of_a_file_or_of_a_run_is_a_method(tiny_task: TaskFactory, tmp_path: Path) -> None:
    recipe = Recipe(learning_rate=2e-4, epochs=5)
    recipe.save(tmp_path / "recipe.yaml")
    text = f"plain,recipe:{tmp_path / 'recipe.yaml'},recipe:{tmp_path}"
    assert list(_chosen(text, tiny_task()).values()) == [PLAIN, recipe, recipe]


def test_a_probed_prior_is_asked_with_a_probe(
    tiny_task: TaskFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bool]] = []

    def suggest(self: Adviser, goal: str, *_: object, probe: bool = False) -> Choice:
        asked.append((goal, probe))
        return Choice(PLAIN)

    monkeypatch.setattr(Adviser, "suggest", suggest)
    _chosen("learned,learned+probe", tiny_task())
    assert asked == [("score", False), ("score", True)]


def test_a_race_is_of_the_best_few_suggestions(
    tiny_task: TaskFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []

    def suggest(self: Adviser, goal: str, *_: object, **settings: object) -> Choice:
        asked.append({"goal": goal, **settings})
        return Choice(PLAIN)

    monkeypatch.setattr(Adviser, "suggest", suggest)
    _chosen("plain,learned-race", tiny_task())
    assert asked == [{"goal": "score", "racers": 3}]


def test_a_search_of_n_trials_varies_plain(tiny_task: TaskFactory) -> None:
    tpe, random = parse_methods("tpe-10,random-4")
    assert tpe.choose(tiny_task(), "b", 8) == Choice(PLAIN, search=SearchWay("tpe", 10))
    assert random.choose(tiny_task(), "b", 8).search == SearchWay("random", 4)


def test_optimizers_are_plain_but_for_their_rate(tiny_task: TaskFactory) -> None:
    chosen = _chosen("prodigy,schedule-free", tiny_task())
    for name, optimizer, rate in [
        ("prodigy", "prodigy", 1.0),
        ("schedule-free", "schedule_free", 1.6e-4),
    ]:
        settings = {"optimizer": optimizer, "learning_rate": rate}
        assert chosen[name] == PLAIN.with_settings(settings)


@pytest.mark.parametrize(
    ("name", "package"), [("prodigy", "prodigyopt"), ("schedule-free", "schedulefree")]
)
def test_an_optimizer_that_is_not_installed_is_refused_at_once(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=f"pip install {package}"):
        parse_methods(f"plain,{name}")


@pytest.mark.parametrize("name", ["tpe", "tpe-0", "tpe-10000", "tpe-x", "grid-4", "tpe-N"])
def test_what_only_looks_like_a_search_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"'{name}' is no method"):
        parse_methods(f"plain,{name}")


def test_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'guess' is no method; the methods are plain, steady"):
        parse_methods("plain,guess")


@pytest.mark.parametrize("text", ["", "plain", "plain,plain", ","])
def test_fewer_than_two_methods_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="needs two or more of plain, steady"):
        parse_methods(text)


def test_files_and_priors_that_are_not_there_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"missing\.yaml"):
        parse_methods(f"plain,recipe:{tmp_path / 'missing.yaml'}")
    with pytest.raises(PriorError, match="neither a folder nor a shipped prior"):
        parse_methods("plain,learned", prior="no-such-prior")
