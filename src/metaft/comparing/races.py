"""Races of a comparison: a method names several recipes, and their first epochs decide.

Every racer's first epoch is a recorded run of its own, the same that `metaft.finetuning.race`
makes; the winner then runs from its beginning, since a trace is a whole run. So a race takes
the machine one epoch more here than it takes a user, which is not counted against it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping

from metaft.comparing.protocol import ComparisonPlan, PlannedTask, RunKey
from metaft.comparing.results import POINTS
from metaft.finetuning.lead import winner_of
from metaft.recipes import Recipe
from metaft.traces.trace import PlannedRun, Trace


def races_of(plan: ComparisonPlan) -> list[PlannedRun]:
    """Return the first epochs of all racers, one seed after the other."""
    return [
        PlannedRun(task.name, task.backbone, recipe.truncated(1), plan.train_rows, seed)
        for seed in range(plan.seeds)
        for task in plan.tasks
        for method in plan.methods
        for recipe in task.choices[method].racers
    ]


def race_keys(plan: ComparisonPlan) -> list[str]:
    """Return the keys of the traces of these runs."""
    return [
        task.key_of(recipe.truncated(1), seed)
        for task in plan.tasks
        for (_, seed), racers in _races(task, plan.seeds)
        for recipe in racers
    ]


def settle_races(plan: ComparisonPlan, traces: Mapping[str, Trace]) -> ComparisonPlan:
    """Let the winner of every race go on.

    Args:
        plan: With races or without.
        traces: Key -> trace, of the first epochs that are there.

    Returns:
        The plan in which each method runs what won on that seed; a race that is not over yet
        has no winner, so its seed is not complete.
    """
    settled = [_settled(task, plan.seeds, traces) for task in plan.tasks]
    return dataclasses.replace(plan, tasks=tuple(settled))


def _settled(task: PlannedTask, seeds: int, traces: Mapping[str, Trace]) -> PlannedTask:
    keys, given_up = dict(task.trace_ids), dict(task.given_up)
    winners = dict(task.winners)
    for at, racers in _races(task, seeds):
        first = [task.key_of(recipe.truncated(1), at[1]) for recipe in racers]
        if any(key not in traces for key in first):
            continue
        winner = winner_of([_points_of(traces[key]) for key in first])
        winners[at] = racers[winner]
        keys[at] = task.key_of(racers[winner], at[1])
        given_up[at] = tuple(key for number, key in enumerate(first) if number != winner)
    return dataclasses.replace(task, trace_ids=keys, given_up=given_up, winners=winners)


def _races(task: PlannedTask, seeds: int) -> Iterator[tuple[RunKey, tuple[Recipe, ...]]]:
    for method, choice in task.choices.items():
        for seed in range(seeds):
            if choice.racers:
                yield (method, seed), choice.racers


def _points_of(trace: Trace) -> float:
    """Return the validation score after the first epoch; NaN where the run broke off."""
    if trace.status != "ok" or not trace.curve:
        return math.nan
    return POINTS * trace.curve[0].validation[trace.metric]
