"""What the worker processes of a recording do."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metaft.errors import UserError
from metaft.tasks.load import load_task
from metaft.tasks.split import subsample
from metaft.traces.plan import BackboneFacts, RunGroup, TaskFacts
from metaft.traces.store import TraceStore
from metaft.traces.trace import TEST_ROWS, VALIDATION_ROWS

if TYPE_CHECKING:
    from metaft.backbones.backbone import Backbone
    from metaft.traces.bench import Bench


@dataclass(frozen=True, slots=True)
class Job:
    """What is the same for all groups of a recording.

    Attributes:
        store_url: Where the traces go.
        offline: Never ask the hub.
        deadline: No run starts after this time (seconds since 1970).
        cache_limit_bytes: Memory for hidden states, see `PrefixCache`; None is its default.
    """

    store_url: str
    offline: bool
    deadline: float
    cache_limit_bytes: int | None = None


def look_at_backbone(identity: str, offline: bool) -> BackboneFacts:
    """Load a backbone and say what the plan must know; a problem is an answer."""
    try:
        backbone = _pretrained(identity, offline)
    except UserError as error:
        return BackboneFacts(problem=error.problem, cure=error.cure)
    return BackboneFacts(backbone.fingerprint, backbone.modality)


def look_at_task(name: str, offline: bool) -> TaskFacts:
    """Load a task and say what the plan must know; a problem is an answer."""
    try:
        task = load_task(name, offline=offline)
    except UserError as error:
        return TaskFacts(problem=str(error))
    return TaskFacts(task.fingerprint, len(task.train), task.modality)


def record_group(group: RunGroup, job: Job) -> str:
    """Make the runs of a group that are not stored yet, and store each as it ends.

    Returns:
        Why the group cannot be recorded; empty where it can.

    Raises:
        StoreError: If the store cannot be written.
    """
    began = time.perf_counter()
    store = _open_store(job.store_url)
    stored = store.ids(group.runs)
    pending = [run for key, run in group.runs.items() if key not in stored]
    if not pending:
        return ""
    try:
        bench = _set_up(group, job)
    except UserError as error:
        return str(error)
    for run in pending:
        if time.time() >= job.deadline:
            break
        trace = bench.record(run, began)
        began = time.perf_counter()
        store.add(trace)
    return ""


def set_aside(group: RunGroup, job: Job, reason: str) -> None:
    """Store the runs of a group as failed, without making them."""
    bench = _set_up(group, job)
    traces = [bench.set_aside(run, reason) for run in group.runs.values()]
    _open_store(job.store_url).add_all(traces)


def _set_up(group: RunGroup, job: Job) -> Bench:
    """Load what the runs of a group share."""
    from metaft.traces.bench import Bench

    task = load_task(group.task, offline=job.offline)
    rows = subsample(
        task,
        train_rows=group.train_rows,
        validation_rows=VALIDATION_ROWS,
        test_rows=TEST_ROWS,
        seed=group.seed,
    )
    return Bench(
        rows,
        task.fingerprint,
        _pretrained(group.backbone, job.offline),
        recipes=[run.recipe for run in group.runs.values()],
        cache_limit_bytes=job.cache_limit_bytes,
    )


@functools.lru_cache(maxsize=1)
def _pretrained(identity: str, offline: bool) -> Backbone:
    """Load a backbone once per process; runs train copies of it."""
    from metaft.backbones.load import load_backbone

    backbone = load_backbone(identity, offline=offline)

    import torch

    torch.set_num_threads(1)
    return backbone


@functools.lru_cache(maxsize=1)
def _open_store(url: str) -> TraceStore:
    """Open the store once per process."""
    return TraceStore(url)
