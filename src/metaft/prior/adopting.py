"""Adopting: a suggested recipe takes over the level that screening has shown to help."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from metaft.errors import RecipeError
from metaft.prior.choice import NO_LIMITS, Goal, Limits
from metaft.prior.described import Described
from metaft.prior.screened import LevelEffect, Screening
from metaft.prior.wording import p_note
from metaft.recipes import PLAIN, Recipe

_SIZE_TOLERANCE = 2.0
"""log2 of the ratio of two train sizes that a level is carried over: from 512 rows to 128 and to
2,048, the sizes that priors are recorded at."""

_COSTS_NOTHING = ("schedule", "label_smoothing")
"""Fields that change neither time nor memory of a run, so that limits and prices stay true."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """What screening made of a recipe.

    Attributes:
        recipe: The recipe, with the level where it was applied.
        applied: The level; None where the recipe keeps its plain values.
        said: What was done, and why, in a sentence.
        best: The level with the highest mean gain, adopted or not.
        levels: How many were screened.
    """

    recipe: Recipe
    applied: LevelEffect | None
    said: str
    best: LevelEffect
    levels: int

    def to_mapping(self) -> dict[str, Any]:
        """Return what an answer says of it, as plain values that JSON can say."""
        from metaft.prior.manifest import finite

        applied = self.applied
        values = {
            "applied": applied and {"field": applied.field, "value": applied.value},
            "said": self.said,
            "levels": self.levels,
            "best": dataclasses.asdict(self.best),
        }
        said: dict[str, Any] = finite(values)
        return said


def adopt(
    screening: Screening,
    recipe: Recipe,
    row: Described,
    *,
    goal: Goal = "score",
    limits: Limits = NO_LIMITS,
) -> Adoption:
    """Change a recipe as screening says, where it says so and where that makes sense.

    Args:
        screening: What was measured, of the modality of the task.
        recipe: What the models suggest.
        row: The features of the task.
        goal: What is sought; the cheapest recipe stays as it is.
        limits: What a run may take; under a limit only what costs nothing is changed.
    """
    level = screening.adopted
    if level is None:
        return _kept(screening, recipe, _why_none(screening))
    why_not = _why_not(
        level, screening, recipe, row, is_priced=goal == "cost" or limits != NO_LIMITS
    )
    if why_not:
        said = f"{_gain_in_words(level, screening)}, but {why_not}: {level.field} stays plain"
        return _kept(screening, recipe, said)
    changed = dataclasses.replace(recipe, **{level.field: level.value})
    said = f"{_gain_in_words(level, screening)}; the prediction is of the recipe without it"
    return Adoption(changed, level, said, screening.best, len(screening.levels))


def _kept(screening: Screening, recipe: Recipe, said: str) -> Adoption:
    return Adoption(recipe, None, said, screening.best, len(screening.levels))


def _why_not(
    level: LevelEffect,
    screening: Screening,
    recipe: Recipe,
    row: Described,
    *,
    is_priced: bool,
) -> str:
    """Say why a recipe cannot take an adopted level over; nothing where it can.

    Args:
        level: What is adopted.
        screening: Where it was measured.
        recipe: What the models suggest.
        row: The features of the task.
        is_priced: Whether what a run costs was asked about.
    """
    own, share = getattr(recipe, level.field), recipe.frozen_fraction
    if own != getattr(PLAIN, level.field):
        return f"the recipe has {level.field}={own} already"
    if row.kind not in level.kinds:
        return f"it was measured on tasks of the kind {' and '.join(level.kinds)} alone"
    if not _is_near(screening.train_rows, row.train_rows):
        sizes = ", ".join(f"{size:,}" for size in screening.train_rows)
        return f"{row.train_rows:,} training rows are too far from the {sizes} it was measured at"
    if level.field == "freezing" and share != screening.base.frozen_fraction:
        return (
            f"it was measured with frozen_fraction {screening.base.frozen_fraction:g}, and the "
            f"recipe has {share:g}"
        )
    if is_priced and level.field not in _COSTS_NOTHING:
        return "what it costs is not predicted"
    try:
        dataclasses.replace(recipe, **{level.field: level.value})
    except RecipeError as error:
        return error.problem
    return ""


def _is_near(sizes: tuple[int, ...], rows: int) -> bool:
    return min(abs(math.log2(size / rows)) for size in sizes) <= _SIZE_TOLERANCE


def _why_none(screening: Screening) -> str:
    best = screening.best
    return (
        f"none of {len(screening.levels)} screened levels is shown to help, so "
        f"these fields stay plain; the best is {_gain_in_words(best, screening)}"
    )


def _gain_in_words(level: LevelEffect, screening: Screening) -> str:
    time = ""
    if math.isfinite(level.time_ratio) and level.field not in _COSTS_NOTHING:
        time = f" in {level.time_ratio:.2g} times the time"
    sizes = ", ".join(f"{size:,}" for size in screening.train_rows)
    return (
        f"{level.name}: {level.points:+.2f} points{time} over {level.tasks} tasks at {sizes} rows "
        f"on {', '.join(screening.backbones)} (Holm {p_note(level.t_test_p_holm)} by t, "
        f"{p_note(level.wilcoxon_p_holm)} by Wilcoxon)"
    )
