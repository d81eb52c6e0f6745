"""SearchSpace: which fields of a recipe a search varies, and over which values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaft.errors import RecipeError
from metaft.recipes import PLAIN, Recipe
from metaft.tasks.task import Modality

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True, slots=True)
class Range:
    """Every number between two.

    Attributes:
        low, high: Both included, low < high.
        is_log: Draw them evenly over the logarithm.
    """

    low: float
    high: float
    is_log: bool = False

    def nearest(self, value: Any) -> float:
        """Return the number within that is nearest to another one."""
        return min(self.high, max(self.low, float(value)))


Choices = tuple[Any, ...]


@dataclass(frozen=True)
class SearchSpace:
    """Fields of a recipe and their values.

    Attributes:
        fields: Field -> a range, or a tuple of values.
    """

    fields: Mapping[str, Range | Choices]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> SearchSpace:
        """Read a space: field -> a list of values, or `{low, high, log}`.

        Raises:
            RecipeError: For an unknown field, or a value that it cannot have.
        """
        if not isinstance(values, Mapping) or not values:
            raise RecipeError(
                f"the search space {where} names no fields",
                "Write for example `learning_rate: [1e-5, 3e-5]`, one field per line",
            )
        if "seed" in values:  # The rows of all trials are drawn once, with one seed.
            raise RecipeError(
                f"seed is varied in {where}; the trials of a search differ in their recipes alone",
                "Leave it out, and set one seed for the whole search",
            )
        return cls({str(name): _read(str(name), given, where) for name, given in values.items()})

    @classmethod
    def load(cls, path: Path) -> SearchSpace:
        """Read a space from YAML.

        Raises:
            RecipeError: If it cannot be read, or is no space.
        """
        import yaml

        try:
            values = yaml.safe_load(path.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RecipeError(
                f"the search space {path} cannot be read: {error}", "Give a YAML file"
            ) from error
        return cls.from_mapping(values, str(path))

    def grid(self, base: Recipe) -> Iterator[Recipe]:
        """Yield the recipes of every combination of values, without those that contradict.

        Raises:
            RecipeError: If a field has a range.
        """
        columns: list[Choices] = []
        for name, values in self.fields.items():
            if isinstance(values, Range):
                raise RecipeError(
                    f"{name} has a range in the search space, and a grid needs its values",
                    f"List them: {name}: [{values.low:g}, {values.high:g}]",
                )
            columns.append(values)
        for chosen in itertools.product(*columns):
            try:
                yield base.with_settings(dict(zip(self.fields, chosen, strict=True)))
            except RecipeError:
                continue

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the space as Optuna takes it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        return {
            name: FloatDistribution(values.low, values.high, log=values.is_log)
            if isinstance(values, Range)
            else CategoricalDistribution(values)
            for name, values in self.fields.items()
        }

    def place_of(self, recipe: Recipe) -> dict[str, Any]:
        """Return the values of the space that are nearest to those of a recipe."""
        given = recipe.to_mapping()
        return {name: _nearest(values, given[name]) for name, values in self.fields.items()}

    def without_budgets(self) -> tuple[SearchSpace, int | None]:
        """Return the space without epochs, and the largest number of them that it had."""
        if "epochs" not in self.fields:
            return self, None
        fields = {name: values for name, values in self.fields.items() if name != "epochs"}
        return SearchSpace(fields), int(self.highest("epochs", 0))

    def highest(self, name: str, otherwise: float) -> float:
        """Return the largest number that a field has here; `otherwise` where it is not varied."""
        values = self.fields.get(name, (otherwise,))
        return float(values.high if isinstance(values, Range) else max(values))


def usual_space(modality: Modality, sampler: str) -> SearchSpace:
    """Return the space that is searched when none is given.

    For a grid it is that of the studies; else it covers what usually matters.

    Args:
        modality: Of the task; images take higher rates.
        sampler: `grid`, `random`, `tpe` or `asha`.
    """
    is_image = modality == "image"
    if sampler == "grid":
        listed = (1e-4, 1e-3, 1e-2) if is_image else (1e-5, 3e-5, 5e-5)
        return SearchSpace(
            {"learning_rate": listed, "batch_size": (16, 32, 64), "epochs": (3, 5, 10)}
        )
    rates = Range(1e-4, 1e-2, is_log=True) if is_image else Range(1e-5, 1e-3, is_log=True)
    fields: dict[str, Range | Choices] = {
        "learning_rate": rates,
        "frozen_fraction": (0.0, 0.25, 0.5, 0.75, 1.0),
        "batch_size": (8, 16, 32),
        "epochs": (9,) if sampler == "asha" else (2, 3, 4, 6),
        "weight_decay": (0.0, 0.01, 0.1),
        "head_init": ("random", "linear_probe"),
    }
    if sampler != "asha":  # It cuts runs short, which a falling rate does not allow.
        fields["schedule"] = ("constant", "linear", "cosine")
    return SearchSpace(fields)


def _read(name: str, given: Any, where: str) -> Range | Choices:
    """Turn what stands in a file into a range or values that the field can have."""
    if isinstance(given, Mapping):
        return _read_range(name, given, where)
    values = given if isinstance(given, list | tuple) else [given]
    if not values:
        raise RecipeError(f"{name} has no values in {where}", "List some, or leave it out")
    return tuple(_checked(name, value) for value in values)


def _read_range(name: str, given: Mapping[str, Any], where: str) -> Range:
    if not {"low", "high"} <= set(given) <= {"low", "high", "log"}:
        raise RecipeError(
            f"{name} is {dict(given)!r} in {where}; a range has low, high and perhaps log",
            f"Write {name}: {{low: 1e-5, high: 1e-3, log: true}}",
        )
    low, high = _checked(name, given["low"]), _checked(name, given["high"])
    if not isinstance(low, float) or not isinstance(high, float) or not low < high:
        raise RecipeError(
            f"{name} goes from {low!r} to {high!r} in {where}; allowed are rising numbers, and no "
            "whole ones",
            f"List the values of {name} instead",
        )
    is_log = bool(given.get("log", False))
    if is_log and low <= 0:
        raise RecipeError(
            f"{name} begins at {low:g} in {where}, which has no logarithm", "Raise low"
        )
    return Range(low, high, is_log)


def _checked(name: str, value: Any) -> Any:
    """Return a value as the field has it; a contradiction with other fields is none of it."""
    changed = {name: value}
    if name == "freezing":  # Some patterns need a share, and some none.
        for share in (0.0, 0.5):
            try:
                return PLAIN.with_settings(changed | {"frozen_fraction": share}).freezing
            except RecipeError as error:
                if share:
                    raise error from None
    return PLAIN.with_settings(changed).to_mapping()[name]


def _nearest(values: Range | Choices, value: Any) -> Any:
    if isinstance(values, Range):
        return values.nearest(value)
    if value in values:
        return value
    numbers = [v for v in (*values, value) if isinstance(v, int | float) and math.isfinite(v)]
    if len(numbers) <= len(values):  # Names have no order: the first stands for the others.
        return values[0]
    return min(values, key=lambda known: abs(float(known) - float(value)))
