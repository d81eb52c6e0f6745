"""What the worker processes of a recording do."""

from __future__ import annotations

import functools
import logging
import math
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from metaft.errors import UserError
from metaft.finetuning.outcome import Costs, Outcome, Status
from metaft.tasks.load import load_task
from metaft.tasks.split import subsample
from metaft.tasks.task import Task
from metaft.traces.environment import Environment, describe_environment
from metaft.traces.plan import BackboneFacts, RunGroup, TaskFacts
from metaft.traces.store import TraceStore
from metaft.traces.trace import TEST_ROWS, VALIDATION_ROWS, PlannedRun, Trace, trace_of

if TYPE_CHECKING:
    from metaft.backbones.backbone import Backbone
    from metaft.finetuning.prefix_cache import PrefixCache

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """What is the same for all groups of a recording.

    Attributes:
        store_url: Where the traces go.
        offline: Never ask the hub.
        deadline: No run starts after this time (seconds since 1970).
    """

    store_url: str
    offline: bool
    deadline: float


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
        bench = _Bench.set_up(group, job.offline)
    except UserError as error:
        return str(error)
    parent = os.getppid()
    for run in pending:
        # A worker whose recorder was killed has another parent, and nobody who waits for it.
        if time.time() >= job.deadline or os.getppid() != parent:
            break
        trace = bench.record(run, began)
        began = time.perf_counter()
        store.add(trace)
    return ""


def set_aside(group: RunGroup, job: Job, reason: str) -> None:
    """Store the runs of a group as failed, without making them."""
    bench = _Bench.set_up(group, job.offline)
    outcome = _ended_early("failed", reason, began=None)
    traces = [bench.trace_of(run, outcome, overhead_seconds=0.0) for run in group.runs.values()]
    _open_store(job.store_url).add_all(traces)


@dataclass(frozen=True, eq=False)
class _Bench:
    """What the runs of a group share."""

    task: Task
    backbone: Backbone
    cache: PrefixCache
    environment: Environment

    @classmethod
    def set_up(cls, group: RunGroup, offline: bool) -> _Bench:
        from metaft.finetuning.prefix_cache import PrefixCache

        task = load_task(group.task, offline=offline)
        backbone = _pretrained(group.backbone, offline)
        rows = subsample(
            task,
            train_rows=group.train_rows,
            validation_rows=VALIDATION_ROWS,
            test_rows=TEST_ROWS,
            seed=group.seed,
        )
        return cls(task, backbone, PrefixCache(rows, backbone), describe_environment())

    def record(self, run: PlannedRun, began: float) -> Trace:
        """Make one run; `began` is when the work on it began (`perf_counter`)."""
        outcome = self._make(run)
        elapsed = time.perf_counter() - began
        return self.trace_of(run, outcome, max(0.0, elapsed - outcome.costs.wall_seconds))

    def trace_of(self, run: PlannedRun, outcome: Outcome, overhead_seconds: float) -> Trace:
        """Put together what is known of a run that has just ended."""
        return trace_of(
            outcome,
            run=run,
            task=self.task,
            backbone_fingerprint=self.backbone.fingerprint,
            environment=self.environment,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            overhead_seconds=overhead_seconds,
        )

    def _make(self, run: PlannedRun) -> Outcome:
        """Fine-tune; whatever goes wrong in the run itself is its outcome."""
        from metaft.finetuning.loop import fine_tune

        began = time.perf_counter(), time.process_time()
        try:
            return fine_tune(
                self.cache.task, self.backbone, run.recipe, test_every_epoch=True, cache=self.cache
            ).outcome
        except Exception as error:
            _LOGGER.exception("a run on %s failed", run.task)
            status: Status = "out_of_memory" if isinstance(error, MemoryError) else "failed"
            return _ended_early(status, f"{type(error).__name__}: {error}", began)


def _ended_early(status: Status, reason: str, began: tuple[float, float] | None) -> Outcome:
    """Return the outcome of a run without any scores.

    Args:
        status: How it ended.
        reason: Why.
        began: Wall and CPU clock at its beginning; None where that is not known.
    """
    wall, cpu = began or (math.nan, math.nan)
    return Outcome(
        status=status,
        reason=reason,
        curve=(),
        best_epoch=0,
        validation={},
        test={},
        costs=Costs(
            wall_seconds=time.perf_counter() - wall,
            cpu_seconds=time.process_time() - cpu,
            gpu_seconds=None,
            peak_memory_mib=math.nan,
        ),
        epochs_to_95_percent=0,
        precision="",
        device="",
    )


@functools.lru_cache(maxsize=1)
def _pretrained(identity: str, offline: bool) -> Backbone:
    """Load a backbone once per process; runs train copies of it."""
    import torch

    from metaft.backbones.load import load_backbone

    torch.set_num_threads(1)
    return load_backbone(identity, offline=offline)


@functools.lru_cache(maxsize=1)
def _open_store(url: str) -> TraceStore:
    """Open the store once per process."""
    return TraceStore(url)
