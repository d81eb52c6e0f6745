"""Recipe: everything needed to repeat one fine-tuning run, its space and its named defaults."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from metaft.errors import RecipeError
from metaft.files import written_beside

Freezing = Literal["first", "last", "alternate", "embeddings", "gradual"]
Schedule = Literal[
    "constant", "linear", "cosine", "triangular", "one_cycle", "polynomial", "adaptive"
]
Optimizer = Literal["adamw", "adam", "sgd", "schedule_free", "prodigy"]
ClassWeights = Literal["equal", "balanced"]
Head = Literal["linear", "crf"]
HeadInit = Literal["random", "linear_probe"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]

TEXT_AUGMENTATIONS = ("synonyms", "wordnet", "insertion", "swap", "deletion")
IMAGE_AUGMENTATIONS = (
    "crop",
    "flip",
    "rotation",
    "jitter",
    "noise",
    "erasing",
    "mixup",
    "cutmix",
)
_JOINT = "+"  # Between the names of augmentations that are used together.


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything needed to repeat one fine-tuning run on a given Task and Backbone.

    Attributes:
        learning_rate: Peak rate of the optimiser, in (0, 1]; `prodigy` multiplies its own
            estimate by it, and 1 is usual there.
        frozen_fraction: Share of the backbone's blocks that stays frozen, in [0, 1]; at 1 only
            the head learns.
        freezing: Which blocks these are: the `first`, counted from the input, with the
            embeddings; the `last`, without them; or every so many of them (`alternate`, with
            the embeddings; at 0.5 every second block, from the first). `embeddings` freezes
            these alone. `gradual` begins with the head alone and thaws one block after the
            other from the top, until the share is left that stays frozen.
        unfreeze_epochs: Epochs after which `gradual` thaws the next block, in [1, 1000].
        epochs: Passes over the training rows, in [1, 1000].
        batch_size: Rows per step, in [1, 4096].
        optimizer: `adamw`, `adam` (its decay is part of the gradient), `sgd` with momentum;
            `schedule_free` (AdamW) and `prodigy` need the extra `optimizers`.
        schedule: What the rate does after warm-up: it stays (`constant`), falls to 0 (`linear`,
            `cosine`, `polynomial`), rises and falls between a tenth of its peak and the peak
            (`triangular`), rises over the warm-up and falls by cosines (`one_cycle`), or falls
            whenever the loss gets no better (`adaptive`).
        schedule_cycles: How often `triangular` rises, and `cosine` begins anew, in [1, 100].
        schedule_power: Of `polynomial`, in [0.1, 10].
        lookahead_steps: Steps between two looks of `adaptive`, in [2, 100000]; short runs take
            fewer.
        decay_threshold: `adaptive` lowers the rate where the loss fell by a smaller share, in
            [0, 1].
        decay_factor: What it multiplies the rate by, in [0.01, 0.99].
        warmup_fraction: Share of all steps over which the rate rises from 0, in [0, 1].
        warmup_steps: Steps over which the rate rises, in [0, 1000000], instead of a share; at
            most half of a run's; more than all of them are refused. None takes the share.
        weight_decay: Decay of matrices (not of biases and norms), in [0, 1].
        layer_rate_decay: What each block's rate is multiplied by for every block above it, in
            [0.1, 1]; the embeddings count as the lowest block.
        label_smoothing: Share of each label that is spread over all classes, in [0, 0.9].
        class_weights: What the loss of a row counts by its class: `equal`, or `balanced`, so that
            every class counts alike however many training rows it has.
        augmentation: `none`, or what changes the training rows anew in every epoch: names
            joined by `+`, of texts `synonyms`, `wordnet` (needs nltk and its corpus),
            `insertion`, `swap`, `deletion`, of images `crop`, `flip`, `rotation`, `jitter`,
            `noise`, `erasing`, `mixup`, `cutmix`.
        augmentation_strength: Share of what each of these could change, in (0, 1]: of the
            words of a text, of the pixels and colours of an image.
        head: `linear`; for tagged words also `crf`, a chain that scores tag after tag and bars
            what the tagging scheme does not allow.
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
    freezing: Freezing = "first"
    unfreeze_epochs: int = 1
    epochs: int = 3
    batch_size: int = 16
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "constant"
    schedule_cycles: int = 1
    schedule_power: float = 2.0
    lookahead_steps: int = 100
    decay_threshold: float = 0.01
    decay_factor: float = 0.1
    warmup_fraction: float = 0.1
    warmup_steps: int | None = None
    weight_decay: float = 0.01
    layer_rate_decay: float = 1.0
    label_smoothing: float = 0.0
    class_weights: ClassWeights = "equal"
    augmentation: str = "none"
    augmentation_strength: float = 0.1
    head: Head = "linear"
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
        names = _augmentations_in(self.augmentation)
        # One order, so that the same run has one key.
        object.__setattr__(self, "augmentation", _JOINT.join(names) or "none")
        _refuse_contradictions(self)

    @property
    def augmentations(self) -> tuple[str, ...]:
        """Return the names of the augmentations, in their order; none is an empty tuple."""
        return () if self.augmentation == "none" else tuple(self.augmentation.split(_JOINT))

    @property
    def depends_on_budget(self) -> bool:
        """Whether the rate of a step would be another one under another number of epochs."""
        return self.schedule != "constant" or self.warmup_steps is not None

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
        agree step by step: one run answers for every smaller budget, down to the end of its
        warm-up. A share cannot say a longer one, so below that it is all of the budget.

        Raises:
            RecipeError: If the schedule depends on the budget, or `epochs` exceeds it.
        """
        if epochs == self.epochs:
            return self
        if self.depends_on_budget or epochs > self.epochs:
            raise self._no_other_budget(epochs, "can be cut short", "a smaller budget")
        longer_share = min(1.0, _rescaled(self.warmup_fraction, self.epochs, epochs))
        return dataclasses.replace(self, epochs=epochs, warmup_fraction=longer_share)

    def extended(self, epochs: int) -> Recipe:
        """Return the Recipe of `epochs` epochs whose first `self.epochs` are this one's.

        The inverse of `truncated`, for recording a curve that answers smaller budgets.

        Raises:
            RecipeError: If the schedule depends on the budget.
        """
        if epochs != self.epochs and self.depends_on_budget:
            raise self._no_other_budget(epochs, "can be extended", "a warm-up as a share")
        share = _rescaled(self.warmup_fraction, self.epochs, epochs)
        return dataclasses.replace(self, epochs=epochs, warmup_fraction=share)

    def _no_other_budget(self, epochs: int, what: str, cure: str) -> RecipeError:
        in_steps = "" if self.warmup_steps is None else " and its warm-up in steps"
        return RecipeError(
            f"epochs is {epochs}, but the recipe has {self.epochs} epochs and a "
            f"{self.schedule} schedule{in_steps}; only a constant schedule {what}",
            f"Use a constant schedule and {cure}",
        )

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
    "unfreeze_epochs": (1, 1000),
    "epochs": (1, 1000),
    "batch_size": (1, 4096),
    "schedule_cycles": (1, 100),
    "schedule_power": (0.1, 10.0),
    "lookahead_steps": (2, 100_000),
    "decay_threshold": (0.0, 1.0),
    "decay_factor": (0.01, 0.99),
    "warmup_fraction": (0.0, 1.0),
    "warmup_steps": (0, 1_000_000),
    "weight_decay": (0.0, 1.0),
    "layer_rate_decay": (0.1, 1.0),
    "label_smoothing": (0.0, 0.9),
    "augmentation_strength": (0.01, 1.0),
    "dropout": (0.0, 0.99),
    "max_gradient_norm": (1e-6, 1e6),
    "max_length": (8, 8192),
    "image_size": (16, 1024),
    "early_stopping_patience": (1, 1000),
    "seed": (0, 2**31 - 1),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "freezing": typing.get_args(Freezing),
    "optimizer": typing.get_args(Optimizer),
    "schedule": typing.get_args(Schedule),
    "class_weights": typing.get_args(ClassWeights),
    "head": typing.get_args(Head),
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
            _nearest(unknown[0], FIELDS, "Write {}", "Correct the name"),
        )


def _nearest(given: Any, allowed: Sequence[str], cure: str, otherwise: str) -> str:
    """Return a cure with the allowed name that a wrong one was perhaps meant to be."""
    near = difflib.get_close_matches(str(given).lower(), allowed, n=1)
    return cure.format(near[0]) if near else otherwise


def _augmentations_in(value: Any) -> tuple[str, ...]:
    """Return the augmentations that a text names, in the order in which they are applied.

    Raises:
        RecipeError: For an unknown name, or methods of texts beside methods of images.
    """
    known = (*TEXT_AUGMENTATIONS, *IMAGE_AUGMENTATIONS)
    names = [name.strip() for name in str(value).split(_JOINT)]
    if names == ["none"]:
        return ()
    for name in names:
        if name not in known:
            raise RecipeError(
                f"augmentation is {value!r}; allowed is none, or of texts some of "
                f"{', '.join(TEXT_AUGMENTATIONS)}, of images some of "
                f"{', '.join(IMAGE_AUGMENTATIONS)}, joined by {_JOINT}",
                _nearest(name, known, "Write {}", "Correct the name"),
            )
    if not (set(names) <= set(TEXT_AUGMENTATIONS) or set(names) <= set(IMAGE_AUGMENTATIONS)):
        raise RecipeError(
            f"augmentation is {value!r}, which changes texts and images", "Name one sort of them"
        )
    return tuple(name for name in known if name in names)


def _refuse_contradictions(recipe: Recipe) -> None:
    """Refuse fields that are sound each by itself, but not together.

    Raises:
        RecipeError: Naming both.
    """
    named = f"freezing is {recipe.freezing!r} and frozen_fraction {recipe.frozen_fraction:g}"
    optimizer = f"optimizer is {recipe.optimizer!r}"
    contradictions = (
        (
            recipe.freezing in ("last", "alternate") and recipe.frozen_fraction == 0,
            f"{named}, so nothing would be frozen",
            "Set frozen_fraction, for example to 0.5",
        ),
        (
            recipe.freezing == "embeddings" and recipe.frozen_fraction > 0,
            f"{named}, which name two things to freeze",
            "Set frozen_fraction to 0, or freezing to first",
        ),
        (
            recipe.freezing == "gradual" and recipe.frozen_fraction == 1,
            f"{named}, so nothing would ever thaw",
            "Set a smaller frozen_fraction",
        ),
        (
            recipe.optimizer == "schedule_free" and recipe.schedule != "constant",
            f"{optimizer}, which has a schedule of its own, and schedule {recipe.schedule!r}",
            "Set schedule to constant",
        ),
        (
            recipe.optimizer == "prodigy" and recipe.layer_rate_decay < 1,
            f"{optimizer}, which gives all blocks one rate, and layer_rate_decay "
            f"{recipe.layer_rate_decay:g}",
            "Set layer_rate_decay to 1",
        ),
    )
    for is_so, problem, cure in contradictions:
        if is_so:
            raise RecipeError(problem, cure)


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
    cure = f"Set {name} within that"
    cure = _nearest(value, _CHOICES.get(name, ()), f"Set {name} to {{}}", cure)
    return RecipeError(f"{name} is {value!r}; allowed is {allowed}", cure)


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

PRODIGY = Recipe(learning_rate=1.0, optimizer="prodigy")
"""`PLAIN` with a rate that the optimiser finds by itself.

Source: the README of prodigyopt 1.1.2, "We recommend using `lr=1.` (default) for all networks".
"""

SCHEDULE_FREE = Recipe(learning_rate=1.6e-4, optimizer="schedule_free")
"""`PLAIN` with averaged iterates in the place of a schedule, at sqrt(10) times its rate.

Source: the README of schedulefree 1.4.1, "For AdamW, learning rates in the range 1x-10x larger
than with schedule-based approaches seem to work", of which this is the middle on a logarithmic
scale. The package's default of 0.0025 is for training from scratch.
"""

OPTIMIZER_RIVALS: dict[str, Recipe] = {"prodigy": PRODIGY, "schedule-free": SCHEDULE_FREE}
"""Optimisers that promise to need no tuning, each at the rate that its authors advise."""


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
