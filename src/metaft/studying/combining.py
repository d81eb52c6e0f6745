"""Combining: the recipes of a grid, one per combination of levels."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from metaft.errors import RecipeError
from metaft.recipes import Recipe
from metaft.studying.card import Variant
from metaft.tasks.task import Modality

Levels = tuple[str, ...]
"""One level per factor, in the order of the card."""

_EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a study does without.

    Attributes:
        task: Its name, or all tasks of a modality.
        what: Levels or methods; empty for the whole task.
        why: In a sentence.
    """

    task: str
    what: str
    why: str


@dataclass(frozen=True)
class Grid:
    """The recipes of a modality.

    Attributes:
        recipes: Levels -> recipe.
        problems: Levels -> why there is no recipe.
    """

    recipes: Mapping[Levels, Recipe]
    problems: Mapping[Levels, str]


def combine(variant: Variant, modality: Modality) -> Grid:
    """Make every combination of levels that a variant asks for.

    Args:
        variant: One that varies factors.
        modality: Of the tasks.
    """
    base = variant.base_recipe(modality)
    recipes: dict[Levels, Recipe] = {}
    problems: dict[Levels, str] = {}
    for levels in _wanted(variant):
        chosen = [
            settings[level].of(modality)
            for settings, level in zip(variant.factors.values(), levels, strict=True)
        ]
        known = [settings for settings in chosen if settings is not None]
        if len(known) < len(chosen):
            problems[levels] = f"the card sets it for {_other(modality)}s alone"
            continue
        try:
            recipes[levels] = base.with_settings({k: v for one in known for k, v in one.items()})
        except RecipeError as error:
            problems[levels] = f"{error.problem}."
    return Grid(recipes, problems)


def tell_problems(
    task: str, problems: Mapping[Levels, str], levels_of: Mapping[str, Sequence[str]]
) -> list[LeftOut]:
    """Say once per reason what is left out.

    Args:
        task: Name, or what stands for several.
        problems: Levels -> why they are left out.
        levels_of: Factor -> its levels.
    """
    by_reason: dict[str, list[Levels]] = {}
    for levels, why in problems.items():
        by_reason.setdefault(why, []).append(levels)
    return [LeftOut(task, _named(found, levels_of), why) for why, found in by_reason.items()]


def _wanted(variant: Variant) -> Iterator[Levels]:
    """Yield the combinations, those of the first levels first."""
    levels_of = list(variant.levels.values())
    for levels in itertools.product(*levels_of):
        changed = sum(level != known[0] for level, known in zip(levels, levels_of, strict=True))
        if changed < 2 or not variant.one_at_a_time:
            yield levels


def _named(found: Iterable[Levels], levels_of: Mapping[str, Sequence[str]]) -> str:
    """Name what combinations have in common: for each factor the levels that are not all."""
    parts = []
    for at, (factor, levels) in enumerate(levels_of.items()):
        seen = [level for level in levels if any(one[at] == level for one in found)]
        if len(seen) < len(levels):
            parts.append(f"{factor}: {', '.join(seen)}")
    return "; ".join(parts) or _EVERYTHING


def _other(modality: Modality) -> str:
    return "text" if modality == "image" else "image"
