"""search: try recipes on one task, and keep the best on its validation rows."""

from __future__ import annotations

from collections.abc import Sequence

from metaft.backbones.backbone import Backbone
from metaft.errors import RunFailedError
from metaft.finetuning.device import Device
from metaft.recipes import Recipe
from metaft.searching.fit import check_space
from metaft.searching.proposals import Sampler
from metaft.searching.space import SearchSpace
from metaft.searching.trials import OnTrial, SearchResult, Trial
from metaft.searching.walk import Ground, Walk, plan_search
from metaft.searching.working import (
    Material,
    deadline_of,
    make_trials,
    make_trials_side_by_side,
)
from metaft.tasks.columns import RECOGNISED, ColumnNames
from metaft.tasks.task import Task
from metaft.traces.store import TraceStore
from metaft.traces.worker import sample_rows

__all__ = ["OnTrial", "SearchResult", "Trial", "search"]


def search(
    task: Task,
    backbone: Backbone,
    store: TraceStore,
    *,
    sampler: Sampler,
    space: SearchSpace,
    trials: int,
    base: Recipe,
    start: Sequence[Recipe] = (),
    train_rows: int | None = None,
    workers: int = 1,
    dataset: str | None = None,
    columns: ColumnNames = RECOGNISED,
    offline: bool = False,
    time_limit_seconds: float | None = None,
    cache_limit_bytes: int | None = None,
    device: Device = "auto",
    on_trial: OnTrial | None = None,
) -> SearchResult:
    """Try recipes, each stored as its run ends.

    What is in the store is not run again, so the same call goes on after a Ctrl-C, and finds
    what others recorded of the same recipes. Each run is claimed first: what another process
    makes right now is waited for and not made twice.

    Args:
        task: Whole; its rows are sub-sampled as for recording.
        backbone: Pretrained; stays as it is.
        store: Where the traces are and go.
        sampler: What is tried next; see `propose`.
        space: What is varied.
        trials: At most so many.
        base: All other fields; its seed is that of rows, runs and sampler.
        start: Recipes to try first, such as those of a prior.
        train_rows: Training rows; None takes all.
        workers: 1 makes the runs in this process; else so many others make them side by side,
            which is part of what TPE and ASHA propose (`plan_search`).
        dataset: What other processes load the task by; None takes its name.
        columns: Likewise.
        offline: Other processes never ask the hub.
        time_limit_seconds: No run starts later than this after the call; trials that are stored
            are still read, so 0 says how far a search has come.
        cache_limit_bytes: See `PrefixCache`.
        device: As for `fine_tune`; other processes take `auto`.
        on_trial: Called after each of them, in the order in which they were proposed.

    Raises:
        RecipeError: If the space does not fit the sampler, the task, the backbone or the device.
        RunFailedError: If no run gave a score.
    """
    deadline = deadline_of(store, time_limit_seconds)
    rows = sample_rows(task, train_rows, base.seed)
    ground = Ground(
        task=task.name,
        kind=task.kind,
        metric=task.metric,
        task_fingerprint=task.fingerprint,
        backbone=backbone.identity,
        backbone_fingerprint=backbone.fingerprint,
        train_rows=len(rows.train),
        dataset=dataset or task.name,
        columns=columns,
    )
    plan = plan_search(
        ground,
        sampler=sampler,
        space=space,
        trials=trials,
        base=base,
        start=start,
        workers=workers,
    )
    check_space(plan.space, plan.base, rows, backbone, device)
    walk = Walk(plan, store, on_trial)
    walk.look()
    if workers == 1:
        ended = make_trials(
            [walk],
            store,
            lambda _: Material(rows, backbone),
            deadline=deadline,
            cache_limit_bytes=cache_limit_bytes,
            device=device,
        )
    else:
        ended = make_trials_side_by_side(
            [walk],
            store,
            workers=workers,
            deadline=deadline,
            offline=offline,
            cache_limit_bytes=cache_limit_bytes,
        )
    walk.look()
    for problem in ended.problems.values():
        raise RunFailedError(problem)
    return walk.result(ended.made)
