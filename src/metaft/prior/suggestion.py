"""Suggestion: a prior's answer for one task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metaft.prior.adopting import Adoption
from metaft.prior.fresh_runs import FreshNote
from metaft.prior.left_out_note import LeftOutNote
from metaft.prior.starting import Start
from metaft.recipes import Recipe


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a run of a recipe is expected to give.

    Attributes:
        metric: The primary metric.
        score: Expected test score, in the metric's own range (1 is perfect).
        low, high: The 90 % interval around it.
        train_seconds: Wall time of the run up to its last validation score, on one thread of
            the machine that recorded the traces.
        peak_memory_mib: Peak memory of the process.
        failure_probability: That the run diverges or breaks off, in [0, 1].
    """

    metric: str
    score: float
    low: float
    high: float
    train_seconds: float
    peak_memory_mib: float
    failure_probability: float


@dataclass(frozen=True, slots=True)
class RankedRecipe:
    """A recipe and what is expected of it."""

    recipe: Recipe
    predicted: Prediction

    def to_mapping(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "recipe": self.recipe.to_mapping(),
            "predicted": dataclasses.asdict(self.predicted),
        }


@dataclass(frozen=True, slots=True)
class NearTask:
    """A training task, and the distance of its features in standard deviations."""

    task: str
    distance: float


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A prior's answer for one task.

    Attributes:
        dataset: As it was asked for.
        backbone: Identity of the backbone that the recipe is for.
        prior: Name, version, tasks and traces of the prior.
        train_rows: Training rows that the predictions are for.
        recipe: What to run.
        predicted: What is expected of it.
        nearest_tasks: The training tasks that are most alike, nearest first.
        seen_in_training: Whether the prior was fitted to traces of this very dataset.
        fallback: What the answer could not use, and what it used instead; None for nothing.
        alternatives: The next best recipes.
        start: Which weights to start from, and why.
        screening: What the fields that no model varies were set to in `recipe`, and why; None
            where the prior was fitted without screening traces. The alternatives are treated
            likewise, each by itself.
        fresh_runs: What the prior's suggestions reached in fresh runs of like size; None where
            there were none, or where what a run costs was asked about.
        left_out: What the prior's suggestions reached on its own tasks, each left out in turn; None
            where that says nothing of such a task, or where a run is to keep within limits.
        probe_seconds: Wall time of the trial steps that it was asked to take first, 0 where
            they were known already; None where it was asked without.
    """

    dataset: str
    backbone: str
    prior: Mapping[str, Any]
    train_rows: int
    recipe: Recipe
    predicted: Prediction
    nearest_tasks: tuple[NearTask, ...]
    seen_in_training: bool
    fallback: str | None
    alternatives: tuple[RankedRecipe, ...]
    start: Start
    screening: Adoption | None = None
    fresh_runs: FreshNote | None = None
    left_out: LeftOutNote | None = None
    probe_seconds: float | None = None

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The recipe and its alternatives, best first."""
        return (self.recipe, *(other.recipe for other in self.alternatives))

    def to_mapping(self) -> dict[str, Any]:
        """Return the answer of `metaft suggest --format json` as plain values."""
        best = RankedRecipe(self.recipe, self.predicted)
        probe = None if self.probe_seconds is None else {"seconds": self.probe_seconds}
        return {
            "dataset": self.dataset,
            "backbone": self.backbone,
            "prior": dict(self.prior),
            **best.to_mapping(),
            "nearest_tasks": [dataclasses.asdict(near) for near in self.nearest_tasks],
            "seen_in_training": self.seen_in_training,
            "fallback": self.fallback,
            "start": self.start.to_mapping(),
            "screening": self.screening and self.screening.to_mapping(),
            "fresh_runs": self.fresh_runs and self.fresh_runs.to_mapping(),
            "left_out": self.left_out and self.left_out.to_mapping(),
            "probe": probe,
            "alternatives": [other.to_mapping() for other in self.alternatives],
        }
