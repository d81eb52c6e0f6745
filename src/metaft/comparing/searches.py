"""Searches of a comparison: a method tries recipes, and the best on the validation rows counts.

Every trial is a recorded run like those of the other methods, on the same rows and with the same
seed; what it takes is counted against the method, whether it was chosen or not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection

from metaft.comparing.protocol import ComparisonPlan, PlannedTask, RunKey
from metaft.errors import RunFailedError
from metaft.searching.trials import Trial, best_of
from metaft.searching.walk import Walk
from metaft.traces.store import TraceStore


class Searches:
    """The searches of a plan, and how far they are.

    Attributes:
        walks: (task, (method, seed)) -> search, the first seed of all tasks first.
    """

    def __init__(self, plan: ComparisonPlan, store: TraceStore) -> None:
        found = [
            ((task.name, at), Walk(search, store))
            for task in plan.tasks
            for at, search in task.searches.items()
        ]
        self.walks: dict[tuple[str, RunKey], Walk] = dict(
            sorted(found, key=lambda item: item[0][1][1])
        )

    @property
    def trials(self) -> int:
        """Return how many there are to be."""
        return sum(walk.plan.trials for walk in self.walks.values())

    def look(self) -> int:
        """Read what is stored; return how many trials have ended."""
        for walk in self.walks.values():
            walk.look()
        return sum(len(walk.done) for walk in self.walks.values())

    def left(self, without: Collection[str]) -> int:
        """Return how many trials are not there yet, but for those on some tasks."""
        return sum(
            walk.plan.trials - len(walk.done)
            for (task, _), walk in self.walks.items()
            if task not in without
        )

    def tell(self, on_trial: Callable[[str, Trial], None]) -> None:
        """Have every trial told that ends from now on, with its task."""
        for (task, _), walk in self.walks.items():
            walk.on_trial = lambda trial, task=task: on_trial(task, trial)


def settle_searches(plan: ComparisonPlan, searches: Searches) -> ComparisonPlan:
    """Let the best trial of every search that is over stand for its method.

    Args:
        plan: With searches or without.
        searches: Of this plan.

    Returns:
        The plan in which each method runs what its search found on that seed; a search that is
        not over yet has found nothing, so its seed is not complete.
    """
    tasks = [_settled(task, searches) for task in plan.tasks]
    return dataclasses.replace(plan, tasks=tuple(tasks))


def _settled(task: PlannedTask, searches: Searches) -> PlannedTask:
    keys, given_up = dict(task.trace_ids), dict(task.given_up)
    winners = dict(task.winners)
    for at in task.searches:
        walk = searches.walks[task.name, at]
        if len(walk.done) < walk.plan.trials:
            continue
        best = _best_of(walk.done)
        winners[at], keys[at] = best.recipe, best.trace_id
        tried = dict.fromkeys(trial.trace_id for trial in walk.done)
        given_up[at] = tuple(key for key in tried if key != best.trace_id)
    return dataclasses.replace(task, trace_ids=keys, given_up=given_up, winners=winners)


def _best_of(trials: list[Trial]) -> Trial:
    """Return the trial that counts: the first, a failed run, where none gave a score."""
    try:
        return best_of(trials)
    except RunFailedError:
        return trials[0]
