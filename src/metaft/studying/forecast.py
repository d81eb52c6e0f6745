"""Forecast: how many runs a study still takes, and how long they will take.

The seconds of a run are those of stored runs that are alike, on this machine or another; else
what a shipped prior's cost model says, whose prices are those of the machine that recorded its
traces; else they are not known.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from metaft.errors import PriorError
from metaft.prior.costs import CostModel
from metaft.prior.prior import newest_prior
from metaft.recipes import Recipe
from metaft.searching.proposals import Sampler, propose
from metaft.studying.arms import Arm
from metaft.studying.plan import StudyPlan, StudyUnit
from metaft.tasks.task import Modality
from metaft.traces.store import TraceStore
from metaft.traces.trace import Trace

# Runs that agree in these cost alike per epoch.
_SHAPE = (
    "max_length",
    "image_size",
    "batch_size",
    "freezing",
    "frozen_fraction",
    "unfreeze_epochs",
    "optimizer",
    "precision",
)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a study still takes.

    Attributes:
        runs: All runs of the grid, the trials of searches among them.
        stored: How many of them are stored.
        from_traces, from_prior, unknown: Of those that are left, how many have their time from
            stored runs that are alike, from a prior's cost model, or from nowhere.
        seconds: Wall time that those with a known time will take on all workers; those of a
            prior on one thread each, with a core of its own.
    """

    runs: int
    stored: int
    from_traces: int
    from_prior: int
    unknown: int
    seconds: float

    @property
    def left(self) -> int:
        """Return the runs that are still to be made."""
        return self.runs - self.stored


def forecast(plan: StudyPlan, store: TraceStore, workers: int) -> Forecast:
    """Count what is stored, and predict how long the rest will take.

    Args:
        plan: What the study runs.
        store: Where its traces are and go.
        workers: Processes that make runs side by side.
    """
    units = [_forecast_unit(plan, unit, store) for unit in plan.units]
    return Forecast(
        runs=sum(one.runs for one in units),
        stored=sum(one.stored for one in units),
        from_traces=sum(one.from_traces for one in units),
        from_prior=sum(one.from_prior for one in units),
        unknown=sum(one.unknown for one in units),
        seconds=sum(one.seconds for one in units) / workers,
    )


def _forecast_unit(plan: StudyPlan, unit: StudyUnit, store: TraceStore) -> Forecast:
    """Return the forecast of one task on one backbone, for one worker."""
    keyed = {key: unit.arms[levels].recipe for (levels, _), key in unit.keys.items()}
    stored = store.ids(keyed)
    pending = [recipe for key, recipe in keyed.items() if key not in stored]
    made = len(keyed) - len(pending)
    for arm, seed in _searches_of(plan, unit):
        found = unit.found.get((arm.levels, seed))
        trials = len(found.trials) if found else 0
        made += trials
        pending += _trials_left(arm, seed, trials)
    alike = _seconds_per_epoch(store.traces(task=unit.task, train_rows=unit.rows.train))
    asked = [recipe for recipe in pending if _shape_of(unit.backbone, recipe) not in alike]
    known = [recipe for recipe in pending if _shape_of(unit.backbone, recipe) in alike]
    from_traces = sum(r.epochs * alike[_shape_of(unit.backbone, r)] for r in known)
    costs = _cost_model(unit.described.backbone, _modality_of(unit)) if asked else None
    from_prior = _predicted_seconds(costs, unit, asked) if costs else 0.0
    return Forecast(
        runs=made + len(pending),
        stored=made,
        from_traces=len(known),
        from_prior=len(asked) if costs else 0,
        unknown=0 if costs else len(asked),
        seconds=from_traces + from_prior,
    )


def _searches_of(plan: StudyPlan, unit: StudyUnit) -> Iterator[tuple[Arm, int]]:
    for arm in unit.arms.values():
        for seed in range(plan.variant.seeds):
            if arm.search is not None:
                yield arm, seed


def _trials_left(arm: Arm, seed: int, made: int) -> list[Recipe]:
    """Return recipes such as a search will try: those of a grid exactly, others like them."""
    if arm.search is None or arm.space is None:
        return []
    sampler: Sampler = "grid" if arm.search.sampler == "grid" else "random"
    proposals = propose(sampler, arm.space, arm.recipe, seed=seed)
    found: list[Recipe] = []
    while len(found) < arm.search.trials and (proposal := proposals.next()):
        found.append(proposal.recipe)
    return found[made:]


def _shape_of(backbone: str, recipe: Recipe) -> tuple[object, ...]:
    augmented = bool(recipe.augmentations)
    return (backbone, augmented, *(getattr(recipe, name) for name in _SHAPE))


def _seconds_per_epoch(traces: Sequence[Trace]) -> dict[tuple[object, ...], float]:
    """Return shape -> median wall seconds of an epoch, over runs that ended well."""
    seen: dict[tuple[object, ...], list[float]] = {}
    for trace in traces:
        if trace.status == "ok" and trace.curve:
            seconds = (trace.costs.wall_seconds + trace.overhead_seconds) / len(trace.curve)
            seen.setdefault(_shape_of(trace.backbone, trace.recipe), []).append(seconds)
    return {shape: statistics.median(seconds) for shape, seconds in seen.items()}


def _predicted_seconds(costs: CostModel, unit: StudyUnit, recipes: Sequence[Recipe]) -> float:
    scored_rows = unit.rows.validation + unit.rows.test
    predicted = costs.for_recipes(recipes).run_seconds(unit.described, scored_rows)
    return float(predicted.sum())


@functools.cache
def _cost_model(backbone: str, modality: Modality) -> CostModel | None:
    """Return the prices of a shipped prior that knows a backbone; None where there is none."""
    try:
        prior = newest_prior(modality, backbone)
    except PriorError:
        return None
    return prior.fitted.models.costs if backbone in prior.manifest.backbones else None


def _modality_of(unit: StudyUnit) -> Modality:
    return "image" if unit.kind == "image_classification" else "text"
