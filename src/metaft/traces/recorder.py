"""The recorder: many runs on worker processes, each stored as it ends, none made twice."""

from __future__ import annotations

import concurrent.futures
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from metaft.errors import BackboneError, StoreError
from metaft.traces.engine import EngineName, Pool, open_pool
from metaft.traces.plan import (
    RunGroup,
    group_runs,
    key_runs,
    problems_of,
    work_of,
)
from metaft.traces.store import TraceStore
from metaft.traces.trace import PlannedRun, Trace
from metaft.traces.worker import look_at_backbone, look_at_task, record_group

_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording is.

    Attributes:
        done: Runs that have ended in this call.
        total: Runs that this call makes.
        seconds_left: Estimate from the seconds per work so far; NaN before the first.
    """

    done: int
    total: int
    seconds_left: float


@dataclass(frozen=True, slots=True)
class RecordingSummary:
    """What a recording did.

    Attributes:
        recorded: Runs that ended in this call, whatever their status.
        skipped: Runs that were stored before.
        left: Runs that were not reached within the time limit, or whose task has a problem
            that only showed when it was recorded.
        statuses: Status -> runs, of those recorded.
        problems: Task -> why it could not be recorded.
        wall_seconds: Of the whole call.
        seconds_per_trace: Mean of what a run took its worker, overhead included; NaN for none.
    """

    recorded: int
    skipped: int
    left: int
    statuses: Mapping[str, int]
    problems: Mapping[str, str]
    wall_seconds: float
    seconds_per_trace: float


OnTrace = Callable[[Trace, Progress], None]


def record(
    runs: Sequence[PlannedRun],
    store: TraceStore,
    *,
    workers: int = 1,
    engine: EngineName = "local",
    time_limit_seconds: float | None = None,
    offline: bool = False,
    fresh: bool = False,
    on_trace: OnTrace | None = None,
) -> RecordingSummary:
    """Make the runs that are not stored yet, on one-thread worker processes.

    Every trace is stored by its worker as soon as its run ends, so whatever ends a
    recording early, only the runs in flight are lost. A Ctrl-C ends the workers at once.

    Args:
        runs: What to record; a run that occurs twice is made once.
        store: Where the traces go.
        workers: Worker processes, >= 1.
        engine: `local`, or `ray` for a cluster.
        time_limit_seconds: No run starts later than this, counted from the call.
        offline: Never ask the hub for tasks and backbones.
        fresh: Forget the stored traces of these runs first.
        on_trace: Called in this process for every run that has ended.

    Returns:
        What was done. Tasks that cannot be loaded stand among its problems.

    Raises:
        StoreError: If the store cannot be written.
        BackboneError: If a backbone cannot be loaded.
        MissingExtraError: If the engine is not installed.
    """
    began = time.monotonic()
    deadline = time.time() + (
        math.inf if time_limit_seconds is None else time_limit_seconds
    )
    store.check_writable()
    with open_pool(engine, workers) as pool:
        keyed, problems = _plan(runs, pool, offline)
        if fresh:
            store.remove(keyed)
        stored = store.ids(keyed)
        pending = {key: run for key, run in keyed.items() if key not in stored}
        watch = _Watch(store, pending, on_trace)
        futures = {
            pool.submit(record_group, group, store.url, offline, deadline): group
            for group in group_runs(pending, workers)
        }
        problems |= _wait(futures, watch)
    return watch.summary(skipped=len(stored), problems=problems, began=began)


def _plan(
    runs: Sequence[PlannedRun], pool: Pool, offline: bool
) -> tuple[dict[str, PlannedRun], dict[str, str]]:
    """Look at every task and backbone once; return key -> run, and task -> problem."""
    looks_at_backbones = {
        name: pool.submit(look_at_backbone, name, offline)
        for name in dict.fromkeys(run.backbone for run in runs)
    }
    looks_at_tasks = {
        name: pool.submit(look_at_task, name, offline)
        for name in dict.fromkeys(run.task for run in runs)
    }
    backbones = {name: look.result() for name, look in looks_at_backbones.items()}
    for facts in backbones.values():
        if facts.problem:
            raise BackboneError(facts.problem, facts.cure)
    tasks = {name: look.result() for name, look in looks_at_tasks.items()}
    problems = problems_of(runs, tasks, backbones)
    sound = [run for run in runs if run.task not in problems]
    return key_runs(sound, tasks, backbones), problems


def _wait(futures: Mapping[Future[str], RunGroup], watch: _Watch) -> dict[str, str]:
    """Report traces as they are stored, until every group has ended; return the problems."""
    problems = {}
    unfinished = set(futures)
    while unfinished:
        ended, unfinished = concurrent.futures.wait(
            unfinished, _SECONDS_BETWEEN_LOOKS, concurrent.futures.FIRST_COMPLETED
        )
        for future in ended:
            problem = _problem_of(future)
            if problem:
                problems[futures[future].task] = problem
        watch.look()
    return problems


def _problem_of(future: Future[str]) -> str:
    try:
        return future.result()
    except StoreError as error:
        # An error that crosses processes carries its whole message as its problem.
        raise StoreError(error.problem.rstrip(".")) from error


@dataclass(eq=False)
class _Watch:
    """Sees in the store which runs have ended, so it works for workers anywhere."""

    store: TraceStore
    pending: dict[str, PlannedRun]
    on_trace: OnTrace | None
    began: float = field(default_factory=time.monotonic)
    traces: list[Trace] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.total = len(self.pending)
        self.work_left = sum(map(work_of, self.pending.values()))
        self.work_done = 0.0

    def look(self) -> None:
        """Report the runs that have ended since the last look."""
        for trace in self.store.traces(self.pending):
            work = work_of(self.pending.pop(trace.trace_id))
            self.work_left -= work
            self.work_done += work
            self.traces.append(trace)
            if self.on_trace:
                self.on_trace(trace, self.progress())

    def progress(self) -> Progress:
        """Return how far the recording is."""
        seconds = time.monotonic() - self.began
        rate = self.work_done / seconds
        left = self.work_left / rate if rate else math.nan
        return Progress(len(self.traces), self.total, left)

    def summary(
        self, *, skipped: int, problems: Mapping[str, str], began: float
    ) -> RecordingSummary:
        """Sum up; `began` is when the call began (`monotonic`)."""
        seconds = [
            trace.costs.wall_seconds + trace.overhead_seconds for trace in self.traces
        ]
        return RecordingSummary(
            recorded=len(self.traces),
            skipped=skipped,
            left=len(self.pending),
            statuses=dict(Counter(trace.status for trace in self.traces)),
            problems=problems,
            wall_seconds=time.monotonic() - began,
            seconds_per_trace=sum(seconds) / len(seconds) if seconds else math.nan,
        )
