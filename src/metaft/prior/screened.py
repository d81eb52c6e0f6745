"""Screened: which fields that no model varies are worth changing in a good recipe.

A screening trace equals a base recipe but for one of `SCREENED_FIELDS`; what it gains on the base
run of the same task, backbone, training rows and seed is the effect of that level.

The rule, fixed before any screening trace was looked at: a level (a field and its value) is
*adopted* where, over the tasks, the paired t-test and Wilcoxon's signed-rank test of its test
scores against the base's are both below .05 after Holm's correction over all levels of the
modality, its mean gain is at least 0.3 points on test rows, and above 0 on validation rows. At
most one level per field; and of several fields the best single one alone, by its gain on test
rows, since nobody measured them together. Where nothing is adopted, the plain values stay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from metaft.errors import PriorError, RecipeError
from metaft.prior.wording import or_nan
from metaft.recipes import Recipe

SCREENED_FIELDS = ("schedule", "freezing", "augmentation", "label_smoothing")
"""Fields that recorded recipes leave at their plain value."""

SIGNIFICANT = 0.05
"""Both corrected p-values of an adopted level are below this."""

LEAST_GAIN_POINTS = 0.3
"""Mean gain on test rows that an adopted level has at least; the margin of the protocol."""

SCREENING_SCHEMA = 1
"""Counts up when a stored figure changes its meaning."""

CONTROLS = 100
"""Times that base and level are exchanged at random within tasks for the negative control."""

_FIT_AGAIN = "Update metaft, or fit the prior again with metaft prior fit --screening"


@dataclass(frozen=True, slots=True)
class LevelEffect:
    """What one level gained on the base recipe.

    Attributes:
        field, value: The level.
        tasks: Tasks it was measured on; the unit of the tests.
        kinds: Their kinds.
        points: Mean gain on test rows, in points.
        validation_points: Mean gain on validation rows; NaN where not measured, which is no gain.
        t_test_p, wilcoxon_p: Of the paired tests on test rows.
        t_test_p_holm, wilcoxon_p_holm: After Holm's correction over all levels.
        win_tie_loss: Tasks on which it was better, as good, and worse.
        time_ratio: Median time of its runs in those of the base; NaN where not measured.
        failed: Share of its runs that failed.
    """

    field: str
    value: Any
    tasks: int
    kinds: tuple[str, ...]
    points: float
    validation_points: float
    t_test_p: float
    wilcoxon_p: float
    t_test_p_holm: float
    wilcoxon_p_holm: float
    win_tie_loss: tuple[int, int, int]
    time_ratio: float
    failed: float

    @property
    def name(self) -> str:
        """Return the level as `--set` takes it."""
        return f"{self.field}={self.value}"

    @property
    def is_gain(self) -> bool:
        """Whether the level meets the rule by itself."""
        return (
            max(self.t_test_p_holm, self.wilcoxon_p_holm) < SIGNIFICANT
            and self.points >= LEAST_GAIN_POINTS
            and self.validation_points > 0
        )


@dataclass(frozen=True, slots=True)
class Screening:
    """What screening traces say of one modality.

    Attributes:
        base: The recipe whose fields were changed one by one, with seed 0.
        backbones: Identities, sorted.
        train_rows: Sizes, ascending.
        tasks: Task -> its fingerprint.
        traces: Runs that count, those of the base among them.
        levels: Every level, the best on test rows first.
        control_adopted: In how many of `CONTROLS` repeats something was adopted although base
            and level were exchanged at random within tasks.
    """

    base: Recipe
    backbones: tuple[str, ...]
    train_rows: tuple[int, ...]
    tasks: Mapping[str, str]
    traces: int
    levels: tuple[LevelEffect, ...]
    control_adopted: int

    @property
    def adopted(self) -> LevelEffect | None:
        """Return the level that suggestions take over; None where none is shown to help."""
        return adopted_of(self.levels)

    @property
    def best(self) -> LevelEffect:
        """Return the level with the highest mean gain, adopted or not."""
        return self.levels[0]

    def to_mapping(self) -> dict[str, Any]:
        """Return it as plain values, with what is adopted."""
        values = dataclasses.asdict(self)
        adopted = self.adopted
        return {
            "schema": SCREENING_SCHEMA,
            **values,
            "controls": CONTROLS,
            "base": self.base.to_mapping(),
            "adopted": adopted and {"field": adopted.field, "value": adopted.value},
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Screening:
        """Read what `to_mapping` wrote, by way of JSON.

        Raises:
            PriorError: If it is broken, or of another schema.
        """
        try:
            if values["schema"] != SCREENING_SCHEMA:
                raise ValueError(
                    f"its schema is {values['schema']}, this version of metaft reads "
                    f"{SCREENING_SCHEMA}"
                )
            return cls(
                base=Recipe.from_mapping(values["base"]),
                backbones=tuple(values["backbones"]),
                train_rows=tuple(values["train_rows"]),
                tasks=dict(values["tasks"]),
                traces=values["traces"],
                levels=tuple(_effect_from(level) for level in values["levels"]),
                control_adopted=values["control_adopted"],
            )
        except (KeyError, TypeError, ValueError, RecipeError) as error:
            raise PriorError(
                f"what the prior says of its screening cannot be read: {error}", _FIT_AGAIN
            ) from error


def adopted_of(levels: Iterable[LevelEffect]) -> LevelEffect | None:
    """Return the best single level that meets the rule; so no field has two of them."""
    gains = [level for level in levels if level.is_gain]
    return max(gains, key=lambda level: (level.points, level.name), default=None)


def _effect_from(values: Mapping[str, Any]) -> LevelEffect:
    """Read one level; what JSON could not say is NaN."""
    lists = {name: tuple(values[name]) for name in ("kinds", "win_tie_loss")}
    unsure = {name: or_nan(values[name]) for name in ("validation_points", "time_ratio")}
    return LevelEffect(**{**values, **lists, **unsure})
