"""MetaSettings: everything needed to repeat one meta-training on given tasks."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from metaft.errors import RecipeError
from metaft.tasks.episodes import EpisodeShape

Algorithm = Literal["reptile", "fomaml", "maml", "meta-sgd", "anil", "multi-task"]
MetaPrecision = Literal["auto", "fp32", "bf16"]
EpisodeHead = Literal["zero", "prototype"]
Checkpointing = Literal["auto", "on", "off"]

SECOND_ORDER: frozenset[str] = frozenset({"maml", "meta-sgd"})
"""Algorithms that differentiate through the whole model's inner loop."""

_INNER_RATE, _OUTER_RATE = 1e-3, 1e-4
# Reptile moves by what a few steps of SGD moved: at 1e-3 that is a hundredth of a step of Adam.
_REPTILE_INNER_RATE, _REPTILE_OUTER_RATE = 1e-2, 1.0


@dataclass(frozen=True, slots=True)
class MetaSettings:
    """Everything needed to repeat one meta-training on given tasks and a given Backbone.

    Attributes:
        algorithm: `reptile` (Nichol et al. 2018), `fomaml` and `maml` (Finn et al. 2017),
            `meta-sgd` (Li et al. 2017), `anil` (Raghu et al. 2020); `multi-task` is the rival
            without an inner loop: one head per task, trained on the rows of the same episodes.
        inner_rate: Rate of the plain SGD that adapts to an episode, in (0, 1]; Meta-SGD
            starts its learned rates there. None takes 1e-3, for Reptile 1e-2.
        outer_rate: Rate of Adam on the meta-gradient, in (0, 1]. For Reptile it is the share
            of the way towards the mean adapted weights instead. None takes 1e-4, for
            Reptile 1.
        inner_steps: Steps of adaptation per episode, in [1, 1000].
        meta_batch_size: Episodes per outer step, in [1, 1000].
        steps: Outer steps, in [1, 1,000,000]. The default passes ten times over the episodes.
        episodes: Different episodes that are drawn and then passed over again and again, in
            [1, 1,000,000]; None draws a new one each time.
        head_init: How an episode's head starts: `zero`, or `prototype`, from the mean features
            of its classes; no gradient goes through these means.
        ways: Numbers of classes that episodes draw from.
        shots: Numbers of support rows per class that episodes draw from.
        query_shots: Query rows per class, in [1, 10,000]; Reptile only reports on them.
        batch_size: Support rows per inner step, in [1, 4096].
        max_length: Tokens per text (or pair), in [8, 8192].
        image_size: Pixels per side, in [16, 1024].
        frozen_fraction: Share of the blocks that stays as pretrained, in [0, 1). The
            embeddings (stem) always do: an episode touches few of their rows, and they are
            half of a small model.
        precision: Arithmetic; `auto` is bf16 where the device is fast at it and the algorithm
            is of first order, else fp32.
        checkpointing: For second order: keep only the weights after each inner step and compute
            the steps again on the way back, so that memory does not grow with their number;
            takes about half as long again. `auto` does so where memory would not suffice.
        seed: Seed of the episodes and their batches, in [0, 2**31).
    """

    algorithm: Algorithm = "reptile"
    inner_rate: float | None = None
    outer_rate: float | None = None
    inner_steps: int = 5
    meta_batch_size: int = 4
    steps: int = 125
    episodes: int | None = 50
    head_init: EpisodeHead = "zero"
    ways: tuple[int, ...] = (2, 3, 4, 5)
    shots: tuple[int, ...] = (4, 8, 16, 32)
    query_shots: int = 8
    batch_size: int = 16
    max_length: int = 128
    image_size: int = 96
    frozen_fraction: float = 0.0
    precision: MetaPrecision = "auto"
    checkpointing: Checkpointing = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise _wrong_value(name, getattr(self, name), f"one of {', '.join(allowed)}")
        for name, (low, high) in _RANGES.items():
            _check_number(name, getattr(self, name), low, high)
        EpisodeShape(self.ways, self.shots, self.query_shots)  # Refuses what is out of range.

    @property
    def shape(self) -> EpisodeShape:
        """How large episodes may be."""
        return EpisodeShape(self.ways, self.shots, self.query_shots)

    @property
    def is_second_order(self) -> bool:
        """Whether the algorithm differentiates through the inner loop."""
        return self.algorithm in SECOND_ORDER

    @property
    def effective_inner_rate(self) -> float:
        """The inner rate, or the algorithm's own where none is set."""
        if self.inner_rate is not None:
            return self.inner_rate
        return _REPTILE_INNER_RATE if self.algorithm == "reptile" else _INNER_RATE

    @property
    def effective_outer_rate(self) -> float:
        """The outer rate, or the algorithm's own where none is set."""
        if self.outer_rate is not None:
            return self.outer_rate
        return _REPTILE_OUTER_RATE if self.algorithm == "reptile" else _OUTER_RATE

    def with_settings(self, settings: Mapping[str, str]) -> MetaSettings:
        """Return a copy with some fields set from texts such as `"1e-3"`, `"2,5"` or `"none"`.

        Raises:
            RecipeError: For an unknown field or a value that is not allowed.
            TaskError: For ways or shots that are not allowed.
        """
        parsed = {name: _parse(name, text) for name, text in settings.items()}
        return type(self).from_mapping({**self.to_mapping(), **parsed})

    def to_mapping(self) -> dict[str, Any]:
        """Return every field as plain values, in order, for JSON or YAML."""
        values = dataclasses.asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> MetaSettings:
        """Build settings from plain values; fields that are missing take their defaults.

        Raises:
            RecipeError: For an unknown field or a value that is not allowed.
            TaskError: For ways or shots that are not allowed.
        """
        unknown = [name for name in values if name not in _FIELDS]
        if unknown:
            raise RecipeError(
                f"{unknown[0]!r} is no setting of meta-training; these are {', '.join(_FIELDS)}",
                "Correct the name",
            )
        parsed: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**parsed)


_FIELDS = tuple(field.name for field in dataclasses.fields(MetaSettings))
_CHOICES: dict[str, tuple[str, ...]] = {
    "algorithm": typing.get_args(Algorithm),
    "precision": typing.get_args(MetaPrecision),
    "head_init": typing.get_args(EpisodeHead),
    "checkpointing": typing.get_args(Checkpointing),
}
# Field -> (lowest, highest) allowed value, both included.
_RANGES: dict[str, tuple[float, float]] = {
    "inner_rate": (1e-10, 1.0),
    "outer_rate": (1e-10, 1.0),
    "inner_steps": (1, 1000),
    "meta_batch_size": (1, 1000),
    "steps": (1, 1_000_000),
    "episodes": (1, 1_000_000),
    "batch_size": (1, 4096),
    "max_length": (8, 8192),
    "image_size": (16, 1024),
    "frozen_fraction": (0.0, 0.999),
    "seed": (0, 2**31 - 1),
}
_FRACTIONAL = ("inner_rate", "outer_rate", "frozen_fraction")
_OPTIONAL = ("inner_rate", "outer_rate", "episodes")
_SEVERAL = ("ways", "shots")


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    if value is None and name in _OPTIONAL:
        return
    kinds = int | float if name in _FRACTIONAL else int
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        noun = "a number" if name in _FRACTIONAL else "a whole number"
        raise _wrong_value(name, value, f"{noun} from {low:g} to {high:g}")


def _parse(name: str, text: str) -> Any:
    """Turn a text into what a field takes; what cannot be read is refused where it is checked."""
    if name in _CHOICES or name not in _FIELDS:
        return text
    if text.strip().lower() == "none":
        return None
    try:
        if name in _SEVERAL:
            return [int(part) for part in text.split(",")]
        return float(text) if name in _FRACTIONAL else int(text)
    except ValueError:
        return text


def _wrong_value(name: str, value: Any, allowed: str) -> RecipeError:
    return RecipeError(f"{name} is {value!r}; allowed is {allowed}", f"Set {name} within that")
