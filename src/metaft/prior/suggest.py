"""suggest: ask a prior about a task whose features are known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from metaft.errors import PriorError
from metaft.prior.adopting import Adoption, adopt
from metaft.prior.choice import GOALS, NO_LIMITS, Goal, Limits, rank_cells
from metaft.prior.described import Described
from metaft.prior.fallbacks import (
    fallbacks_of,
    is_of_another_sort,
    longer_than_recorded,
    never_recorded,
    unknown_costs,
)
from metaft.prior.fresh_runs import FreshNote, note_fresh_runs
from metaft.prior.left_out_note import LeftOutNote, note_left_out
from metaft.prior.lengths import AS_RECORDED, length_for, lengthen, lengthened
from metaft.prior.manifest import Manifest
from metaft.prior.outlook import OutcomeModels, Outlook
from metaft.prior.prior import Prior
from metaft.prior.starting import recommend_start
from metaft.prior.suggestion import NearTask, Prediction, RankedRecipe, Suggestion
from metaft.recipes import Recipe
from metaft.traces.trace import VALIDATION_ROWS

NEAREST_TASKS = 5


def suggest(
    prior: Prior,
    row: Described,
    *,
    goal: Goal = "score",
    limits: Limits = NO_LIMITS,
    top: int = 1,
    dataset: str | None = None,
    notes: Iterable[str] = (),
    validation_rows: int = VALIDATION_ROWS,
) -> Suggestion:
    """Suggest a recipe.

    Args:
        prior: What to ask.
        row: The features of the task on its backbone; its `train_rows` are those of the run.
        goal: `score`, or `cost`: the cheapest recipe that is expected to be no worse than
            plain.
        limits: What a run may take.
        top: Recipes wanted, >= 1; the ones after the first are alternatives.
        dataset: What the user called it; by default the task's name.
        notes: What the caller already had to fall back on.
        validation_rows: Rows that the run scores after every epoch, >= 0.

    Raises:
        PriorError: For an unknown goal, where nothing fits the limits, or where no trace tells
            the cost that is asked about.
    """
    if goal not in GOALS:
        raise PriorError(f"goal is {goal!r}; allowed are {', '.join(GOALS)}", "Correct --goal")
    models, calibration = prior.opinion_on(row)
    tokens, outlook = _look(models, row, validation_rows, goal, limits)
    is_other_sort = is_of_another_sort(prior.manifest, row)
    weight = 0.0 if is_other_sort else calibration.weight_at(outlook.distance)
    _check_costs_known(outlook, goal, limits)
    allowed = limits.allow(outlook)
    order = rank_cells(outlook, models.space, weight=weight, goal=goal, allowed=allowed)
    is_elsewhere = bool(never_recorded(prior.manifest, row))

    def predict(cell: int) -> Prediction:
        points = float(outlook.scores(weight)[cell])
        half_width = calibration.half_width_at(points, is_elsewhere=is_elsewhere)
        if is_other_sort:
            half_width = math.inf
        return _predict(outlook, cell, points, half_width, row)

    chosen = [models.space.cells[cell] for cell in order[:top]]
    screened = _screened(prior.manifest, chosen, row, goal, limits)
    ranked = [
        RankedRecipe(lengthen(one.recipe if one else recipe, tokens), predict(cell))
        for recipe, one, cell in zip(chosen, screened, order[:top], strict=True)
    ]
    fallbacks = [
        *notes,
        *fallbacks_of(prior.manifest, row, outlook, calibration),
        *longer_than_recorded(chosen[0].max_length, tokens),
    ]
    nearest = list(outlook.distances.items())[:NEAREST_TASKS]
    return Suggestion(
        dataset=dataset or row.task,
        backbone=row.backbone,
        prior=prior.manifest.label,
        train_rows=row.train_rows,
        recipe=ranked[0].recipe,
        predicted=ranked[0].predicted,
        nearest_tasks=tuple(NearTask(task, distance) for task, distance in nearest),
        seen_in_training=prior.manifest.has_seen(row.task, row.fingerprint),
        fallback="; ".join(fallbacks) or None,
        alternatives=tuple(ranked[1:]),
        start=recommend_start(prior.folder, row.backbone, row.train_rows),
        screening=screened[0],
        fresh_runs=_fresh_runs(prior, row, goal, limits),
        left_out=_left_out(prior, row, goal, limits),
    )


def _screened(
    manifest: Manifest, chosen: Sequence[Recipe], row: Described, goal: Goal, limits: Limits
) -> list[Adoption | None]:
    """Return what screening makes of each recipe; None for each where nothing was screened."""
    screening = manifest.screening
    if screening is None:
        return [None] * len(chosen)
    return [adopt(screening, recipe, row, goal=goal, limits=limits) for recipe in chosen]


def _fresh_runs(prior: Prior, row: Described, goal: Goal, limits: Limits) -> FreshNote | None:
    """Return what fresh runs say; those were of the best score, whatever it takes."""
    if goal != "score" or limits != NO_LIMITS:
        return None
    return note_fresh_runs(prior.folder, row.backbone, row.train_rows)


def _left_out(prior: Prior, row: Described, goal: Goal, limits: Limits) -> LeftOutNote | None:
    """Return what the prior's validation says; it bounded neither time nor memory."""
    if limits != NO_LIMITS:
        return None
    return note_left_out(prior.manifest["validation"], row.block.sort, goal)


def _look(
    models: OutcomeModels, row: Described, validation_rows: int, goal: Goal, limits: Limits
) -> tuple[int, Outlook]:
    """Return how long texts may be, and what is expected of every cell.

    What is cheap takes the texts as `plain` does, and so does what would not fit otherwise.
    """
    tokens = length_for(row) if goal == "score" else AS_RECORDED
    outlook = lengthened(models, tokens).look_at(row, validation_rows)
    try:
        limits.allow(outlook)
    except PriorError:
        return AS_RECORDED, models.look_at(row, validation_rows)
    return tokens, outlook


def _check_costs_known(outlook: Outlook, goal: Goal, limits: Limits) -> None:
    asked = {
        "time": goal == "cost" or limits.seconds is not None,
        "memory": limits.memory_mib is not None,
    }
    for name in unknown_costs(outlook):
        if asked[name]:
            raise PriorError(
                f"no trace of this prior tells what a run takes of {name}",
                "Ask without a limit and without --goal cost, or fit to traces that tell it",
            )


def _predict(
    outlook: Outlook, cell: int, points: float, half_width: float, row: Described
) -> Prediction:
    lowest = -100.0 if row.kind == "regression" else 0.0  # a correlation may be negative
    bounds = (points, points - half_width, points + half_width)
    score, low, high = (float(np.clip(value, lowest, 100.0)) / 100.0 for value in bounds)
    return Prediction(
        metric=row.metric,
        score=score,
        low=low,
        high=high,
        train_seconds=float(outlook.run_seconds[cell]),
        peak_memory_mib=float(outlook.peak_memory_mib[cell]),
        failure_probability=float(outlook.failure[cell]),
    )
