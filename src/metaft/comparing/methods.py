"""Methods: ways to choose a recipe for a task before its first step."""

from __future__ import annotations

import functools
import re
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metaft.comparing.advice import Adviser
from metaft.comparing.choice import Choice, Choose
from metaft.errors import UserError
from metaft.finetuning.lead import RACERS
from metaft.finetuning.optimizers import check_optimizer
from metaft.recipes import NAMED, OPTIMIZER_RIVALS, PLAIN, Recipe
from metaft.searching.proposals import Sampler, SearchWay

if TYPE_CHECKING:
    from metaft.prior.choice import Goal

FEWEST_METHODS = 2

_GOALS: dict[str, Goal] = {"learned": "score", "learned-cost": "cost"}
_PROBED = "learned+probe"
_RACED = "learned-race"
_BEST_AVERAGE = "best-average"
_FILE_PREFIX = "recipe:"
_SEARCHED: tuple[Sampler, ...] = ("tpe", "random")
_SEARCH = re.compile(rf"({'|'.join(_SEARCHED)})-([1-9]\d{{0,3}})")

KNOWN_METHODS: tuple[str, ...] = (
    *NAMED,
    *OPTIMIZER_RIVALS,
    *_GOALS,
    _PROBED,
    _RACED,
    _BEST_AVERAGE,
    *(f"{sampler}-N" for sampler in _SEARCHED),
    f"{_FILE_PREFIX}FILE",
)
"""What `--methods` takes; N is a number of trials."""


@dataclass(frozen=True, slots=True)
class Method:
    """A named way to choose a recipe.

    Attributes:
        name: As it was asked for.
        choose: Chooses; looks at training rows at most.
    """

    name: str
    choose: Choose


def parse_methods(text: str, *, prior: str | None = None, offline: bool = False) -> list[Method]:
    """Read a comma-separated list of methods.

    Args:
        text: Two or more of `KNOWN_METHODS`; a name that occurs twice counts once.
        prior: Name or folder of the prior that `learned`, `learned-cost`, `learned+probe`,
            `learned-race` and `best-average` ask; None takes the newest shipped one for the
            modality and the backbone.
        offline: Never ask the hub.

    Raises:
        UserError: For an unknown method, or fewer than two of them.
        RecipeError: If the file of `recipe:FILE` holds no recipe.
        PriorError: If the named prior cannot be used.
        MissingExtraError: If a method's optimiser is not installed.
    """
    names = dict.fromkeys(name.strip() for name in text.split(",") if name.strip())
    adviser = Adviser(prior, offline=offline)
    methods = [Method(name, choose_of(name, adviser)) for name in names]
    if len(methods) < FEWEST_METHODS:
        raise UserError(
            f"methods is {text!r}; a comparison needs two or more of {', '.join(KNOWN_METHODS)}",
            "Name another one, for example plain",
        )
    return methods


def choose_of(name: str, adviser: Adviser) -> Choose:
    """Return how a method chooses.

    Args:
        name: One of `KNOWN_METHODS`.
        adviser: Asks the prior for those that need one.

    Raises:
        UserError: If there is no such method.
        RecipeError: If the file of `recipe:FILE` holds no recipe.
        MissingExtraError: If the method's optimiser is not installed.
    """
    if name in NAMED:
        return _always(NAMED[name])
    if name in OPTIMIZER_RIVALS:
        check_optimizer(OPTIMIZER_RIVALS[name])
        return _always(OPTIMIZER_RIVALS[name])
    if name.startswith(_FILE_PREFIX):
        path = Path(name.removeprefix(_FILE_PREFIX))
        return _always(Recipe.load(path / "recipe.yaml" if path.is_dir() else path))
    if name in _GOALS:
        return functools.partial(adviser.suggest, _GOALS[name])
    if name == _PROBED:
        return functools.partial(adviser.suggest, "score", probe=True)
    if name == _RACED:
        return functools.partial(adviser.suggest, "score", racers=RACERS)
    if name == _BEST_AVERAGE:
        return adviser.best_on_average
    if found := _SEARCH.fullmatch(name):
        return _searching(SearchWay(typing.cast("Sampler", found[1]), int(found[2])))
    raise UserError(
        f"{name!r} is no method; the methods are {', '.join(KNOWN_METHODS)}", "Correct --methods"
    )


def _searching(way: SearchWay) -> Choose:
    return lambda task, backbone, train_rows: Choice(PLAIN, search=way)


def _always(recipe: Recipe) -> Choose:
    return lambda task, backbone, train_rows: Choice(recipe)
