"""Trials: the searches of a study, made on worker processes."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

from metaft.backbones.backbone import Backbone
from metaft.errors import RunFailedError
from metaft.recipes import Recipe
from metaft.searching.proposals import SearchWay
from metaft.searching.search import SearchResult, Trial, search
from metaft.searching.space import SearchSpace
from metaft.studying.arms import Arm
from metaft.tasks.load import load_task
from metaft.tasks.task import Task
from metaft.traces.store import TraceStore
from metaft.traces.worker import load_once


def make_trials(
    arm: Arm,
    task: Task,
    backbone: Backbone,
    store: TraceStore,
    *,
    train_rows: int,
    seed: int,
    time_limit_seconds: float | None,
    cache_limit_bytes: int | None = None,
) -> SearchResult | None:
    """Make the trials of a search that are not stored; None where there is none yet.

    A search in which no trial gave a score has a result, too, whose best is the first of them:
    it counts as a failed run, for a method that breaks must not vanish from the comparison.

    Args:
        arm: One with a search.
        task: Whole.
        backbone: Pretrained.
        store: Where trials are and go.
        train_rows: Of each run.
        seed: Of rows, runs and sampler.
        time_limit_seconds: See `search`: 0 reads what is stored, and runs nothing.
        cache_limit_bytes: Likewise.

    Raises:
        RecipeError: If the space does not fit the sampler, the task or the backbone.
    """
    if arm.search is None or arm.space is None:
        raise ValueError(f"{arm.levels} is no search")
    told: list[Trial] = []
    try:
        found = search(
            task,
            backbone,
            store,
            sampler=arm.search.sampler,
            space=arm.space,
            trials=arm.search.trials,
            base=arm.recipe.with_settings({"seed": seed}),
            train_rows=train_rows,
            time_limit_seconds=time_limit_seconds,
            cache_limit_bytes=cache_limit_bytes,
            on_trial=told.append,
        )
    except RunFailedError:
        if not told:
            return None
        found = SearchResult(tuple(told), told[0], is_complete=False)
    is_complete = len(found.trials) >= _count_trials(arm.search, arm.space, arm.recipe)
    return dataclasses.replace(found, is_complete=is_complete)


def _count_trials(way: SearchWay, space: SearchSpace, base: Recipe) -> int:
    """Return how many trials a search makes: a grid may hold fewer than it is asked for."""
    if way.sampler != "grid":
        return way.trials
    return min(way.trials, len(list(space.grid(base))))


@dataclass(frozen=True, slots=True)
class Desk:
    """What is the same for all searches of a study.

    Attributes:
        store_url: Where trials are and go; the store must be there.
        train_rows: Of each run.
        offline: Never ask the hub.
        ends_at: No run starts after this time (seconds since 1970); None for no limit.
        cache_limit_bytes: See `PrefixCache`.
    """

    store_url: str
    train_rows: int
    offline: bool
    ends_at: float | None
    cache_limit_bytes: int | None


def work_on(task_name: str, arm: Arm, seed: int, desk: Desk) -> SearchResult | None:
    """Make one search in a worker process; for the result see `make_trials`."""
    left = None if desk.ends_at is None else max(0.0, desk.ends_at - time.time())
    return make_trials(
        arm,
        load_task(task_name, offline=desk.offline),
        load_once(arm.start.identity, desk.offline),
        TraceStore(desk.store_url, must_exist=True),
        train_rows=desk.train_rows,
        seed=seed,
        time_limit_seconds=left,
        cache_limit_bytes=desk.cache_limit_bytes,
    )
