"""Recipe: everything needed to repeat one fine-tuning run, its space and its named defaults."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from metaft.errors import RecipeError
from metaft.files import written_beside

Schedule = Literal["constant", "linear"]
HeadInit = Literal["random", "linear_probe"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything needed to repeat one fine-tuning run on a given Task and Backbone.

    Attributes:
        learning_rate: Peak rate of AdamW, in (0, 1].
        frozen_fraction: Share of the backbone's blocks that stays frozen, counted from the
            input, in [0, 1]; above 0 the embeddings are frozen too, at 1 only the head learns.
        epochs: Passes over the training rows, in [1, 1000].
        batch_size: Rows per step, in [1, 4096].
        schedule: What the rate does after warm-up: `constant`, or `linear` down to 0.
        warmup_fraction: Share of all steps over which the rate rises from 0, in [0, 1].
        weight_decay: Decoupled decay of matrices (not of biases and norms), in [0, 1].
        head_init: `random`, or `linear_probe`: a logistic (ridge) regression on the frozen
            features becomes the head before the first step (LP-FT, Kumar et al. 2022).
        dropout: Dropout before the head, in [0, 1).
        max_gradient_norm: Gradients are clipped to this global norm, > 0.
        max_length: Tokens per text (or pair), in [8, 8192]; longer ones are cut.
        image_size: Pixels per side that images are resized to, in [16, 1024].
        precision: Arithmetic of the forward and backward pass; `auto` picks bf16 where the
            device is fast at it.
        early_stopping_patience: Stop after this many epochs without a better validation
            score; None runs the whole budget.
        seed: Seed of the head, the order of rows and dropout, in [0, 2**31).
    """

    learning_rate: float = 5e-5
    frozen_fraction: float = 0.0
    epochs: int = 3
    batch_size: int = 16
    schedule: Schedule = "constant"
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01
    head_init: HeadInit = "random"
    dropout: float = 0.1
    max_gradient_norm: float = 1.0
    max_length: int = 128
    image_size: int = 96
    precision: Precision = "auto"
    early_stopping_patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            _check_number(name, getattr(self, name), low, high)
        for name, allowed in _CHOICES.items():
            _check_choice(name, getattr(self, name), allowed)

    def to_mapping(self) -> dict[str, Any]:
        """Return every field as plain values, in order, for YAML, JSON or a table."""
        return dataclasses.asdict(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Recipe:
        """Build a Recipe from plain values; fields that are missing take their defaults.

        Raises:
            RecipeError: For an unknown field, a value of the wrong type or out of range.
        """
        _refuse_unknown(values)
        return cls(**{name: _parse(name, value) for name, value in values.items()})

    def with_settings(self, settings: Mapping[str, Any]) -> Recipe:
        """Return a copy with some fields set; texts such as `"1e-4"` are parsed.

        Raises:
            RecipeError: For an unknown field, a value of the wrong type or out of range.
        """
        _refuse_unknown(settings)
        parsed = {name: _parse(name, value) for name, value in settings.items()}
        return dataclasses.replace(self, **parsed)

    def truncated(self, epochs: int) -> Recipe:
        """Return the Recipe whose run is the first `epochs` epochs of this one's.

        The warm-up keeps its length in steps, so under a constant schedule the two runs
        agree step by step: one run answers for every smaller budget.

        Raises:
            RecipeError: If the schedule depends on the budget, or `epochs` exceeds it.
        """
        if epochs == self.epochs:
            return self
        if self.schedule != "constant" or epochs > self.epochs:
            raise RecipeError(
                f"epochs is {epochs}, but the recipe has {self.epochs} epochs and a "
                f"{self.schedule} schedule; only a constant schedule can be cut short",
                "Use a constant schedule and a smaller budget",
            )
        longer_share = min(1.0, _rescaled(self.warmup_fraction, self.epochs, epochs))
        return dataclasses.replace(self, epochs=epochs, warmup_fraction=longer_share)

    def extended(self, epochs: int) -> Recipe:
        """Return the Recipe of `epochs` epochs whose first `self.epochs` are this one's.

        The inverse of `truncated`, for recording a curve that answers smaller budgets.
        """
        share = _rescaled(self.warmup_fraction, self.epochs, epochs)
        return dataclasses.replace(self, epochs=epochs, warmup_fraction=share)

    def save(self, path: Path) -> None:
        """Write the Recipe as YAML, whole or not at all."""
        import yaml

        with written_beside(path) as beside:
            beside.write_text(yaml.safe_dump(self.to_mapping(), sort_keys=False))

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a Recipe from YAML.

        Raises:
            RecipeError: If the file cannot be read, is no mapping, or holds a wrong value.
        """
        import yaml

        try:
            values = yaml.safe_load(path.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RecipeError(
                f"the recipe file {path} cannot be read: {error}",
                "Give a YAML file such as the recipe.yaml of a Run",
            ) from error
        if not isinstance(values, dict):
            raise RecipeError(
                f"the recipe file {path} holds {type(values).__name__}, not fields of a recipe",
                "Write one `field: value` per line",
            )
        return cls.from_mapping(values)


# Field -> (lowest, highest) allowed value, both included.
_RANGES: dict[str, tuple[float, float]] = {
    "learning_rate": (1e-10, 1.0),
    "frozen_fraction": (0.0, 1.0),
    "epochs": (1, 1000),
    "batch_size": (1, 4096),
    "warmup_fraction": (0.0, 1.0),
    "weight_decay": (0.0, 1.0),
    "dropout": (0.0, 0.99),
    "max_gradient_norm": (1e-6, 1e6),
    "max_length": (8, 8192),
    "image_size": (16, 1024),
    "early_stopping_patience": (1, 1000),
    "seed": (0, 2**31 - 1),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "schedule": typing.get_args(Schedule),
    "head_init": typing.get_args(HeadInit),
    "precision": typing.get_args(Precision),
}
_TYPES: dict[str, Any] = typing.get_type_hints(Recipe)
FIELDS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Recipe))


def _rescaled(warmup_fraction: float, epochs: int, other_epochs: int) -> float:
    """Keep the warm-up's steps under another budget; rounded, so that there and back is exact."""
    return round(warmup_fraction * epochs / other_epochs, 12)


def _refuse_unknown(values: Mapping[str, Any]) -> None:
    unknown = [name for name in values if name not in FIELDS]
    if unknown:
        raise RecipeError(
            f"{unknown[0]!r} is no field of a recipe; the fields are {', '.join(FIELDS)}",
            "Correct the name",
        )


def _parse(name: str, value: Any) -> Any:
    """Turn a text or a plain value into the field's type, or say what is allowed."""
    kind = _TYPES[name]
    optional = isinstance(kind, types.UnionType)
    if optional and (value is None or value in ("none", "None", "null")):
        return None
    target = typing.get_args(kind)[0] if optional else kind
    if target not in (int, float):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise _wrong_value(name, value) from None
    if isinstance(value, bool) or (target is int and not number.is_integer()):
        raise _wrong_value(name, value)
    return target(number)


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    if value is None and isinstance(_TYPES[name], types.UnionType):
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise _wrong_value(name, value)


def _check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise _wrong_value(name, value)


def _wrong_value(name: str, value: Any) -> RecipeError:
    if name in _CHOICES:
        allowed = f"one of {', '.join(_CHOICES[name])}"
    else:
        low, high = _RANGES[name]
        whole = "a whole number" if _TYPES[name] is not float else "a number"
        allowed = f"{whole} from {low:g} to {high:g}"
    return RecipeError(f"{name} is {value!r}; allowed is {allowed}", f"Set {name} within that")


PLAIN = Recipe()
"""What an engineer copies today: 5e-5, three epochs, nothing frozen."""

STEADY = Recipe(learning_rate=1e-4)
"""Twice the usual rate, nothing frozen: near the noise floor on MiniLM at 400 rows."""

HALF_FROZEN = Recipe(learning_rate=3e-4, frozen_fraction=0.5)
"""The lower half frozen and a higher rate: about half the cost of `PLAIN`."""

NAMED: dict[str, Recipe] = {
    "plain": PLAIN,
    "steady": STEADY,
    "half_frozen": HALF_FROZEN,
}


def design(count: int, epochs: int, seed: int = 0) -> list[Recipe]:
    """Return the shared space-filling design of recipes that every task is recorded with.

    The named recipes come first, then a scrambled Sobol sequence over log learning rate
    (1e-5 to 3e-3), frozen fraction, batch size (8, 16, 32), head initialisation and weight
    decay. The design is nested: the first recipes of a larger one are the smaller one.

    Args:
        count: Recipes, >= 1.
        epochs: Budget of every recipe; the schedule is constant, so the curve of each run
            answers for every smaller budget.
        seed: Seed of the scrambling.
    """
    from scipy.stats import qmc

    named = [recipe.extended(epochs) for recipe in NAMED.values()]
    drawn = max(0, count - len(named))
    if drawn == 0:
        return named[:count]
    sequence = qmc.Sobol(d=5, scramble=True, rng=seed)
    power = max(1, (drawn - 1).bit_length())
    points = sequence.random_base2(power)[:drawn]
    return named + [_recipe_at(point, epochs) for point in points]


def _recipe_at(point: Any, epochs: int) -> Recipe:
    """Map a point of the unit cube to a Recipe; values are rounded to what a person writes."""
    rate, depth, batch, head, decay = (float(value) for value in point)
    return Recipe(
        learning_rate=float(f"{1e-5 * 300.0**rate:.2g}"),  # 1e-5 ... 3e-3, log-uniform
        frozen_fraction=(0.0, 0.0, 0.25, 0.5, 0.75, 1.0)[min(5, int(depth * 6))],
        epochs=epochs,
        batch_size=(8, 16, 32)[min(2, int(batch * 3))],
        warmup_fraction=PLAIN.extended(epochs).warmup_fraction,
        weight_decay=(0.0, 0.01, 0.1)[min(2, int(decay * 3))],
        head_init=("random", "linear_probe")[min(1, int(head * 2))],
    )
