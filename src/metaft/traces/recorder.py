"""The recorder: many runs on worker processes, each stored as it ends, none made twice."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from metaft.errors import BackboneError, RunFailedError, StoreError
from metaft.traces.engine import EngineName, Pool, open_pool
from metaft.traces.plan import RunGroup, group_runs, key_runs, problems_of
from metaft.traces.store import TraceStore
from metaft.traces.trace import PlannedRun, Trace
from metaft.traces.worker import Job, look_at_backbone, look_at_task, record_group, set_aside

_SECONDS_BETWEEN_LOOKS = 0.5
_ATTEMPTS = 3
_Facts = TypeVar("_Facts")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording is.

    Attributes:
        done: Runs that have ended in this call.
        total: Runs that this call makes.
        skipped: Runs that were stored before.
        seconds_left: Estimate from the seconds per run so far; NaN before the first.
    """

    done: int
    total: int
    skipped: int
    seconds_left: float


@dataclass(frozen=True, slots=True)
class RecordingSummary:
    """What a recording did.

    Attributes:
        recorded: Runs that ended in this call, whatever their status.
        skipped: Runs that were stored before.
        left: Runs that were not reached within the time limit.
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


OnPlanned = Callable[[Progress], None]
OnTrace = Callable[[Trace, Progress], None]


def record(
    runs: Sequence[PlannedRun],
    store: TraceStore,
    *,
    workers: int = 1,
    engine: EngineName = "local",
    time_limit_seconds: float | None = None,
    cache_limit_bytes: int | None = None,
    offline: bool = False,
    fresh: bool = False,
    on_planned: OnPlanned | None = None,
    on_trace: OnTrace | None = None,
) -> RecordingSummary:
    """Make the runs that are not stored yet, on one-thread worker processes.

    Every trace is stored by its worker as soon as its run ends, so whatever ends a
    recording early, only the runs in flight are lost. A Ctrl-C ends the workers at once.
    A run whose worker dies is made again alone, and set aside as `failed` when that dies too.

    Args:
        runs: What to record; a run that occurs twice is made once.
        store: Where the traces go.
        workers: Worker processes, >= 1.
        engine: `local`, or `ray` for a cluster.
        time_limit_seconds: No run starts later than this, counted from the call.
        cache_limit_bytes: Memory of each worker for hidden states, beyond which they go to a
            temporary file; 0 turns their caching off, None is the default of `PrefixCache`.
        offline: Never ask the hub for tasks and backbones.
        fresh: Forget the stored traces of these runs first.
        on_planned: Called once in this process, when it is known what there is to do.
        on_trace: Called in this process for every run that has ended.

    Returns:
        What was done. Tasks that cannot be recorded stand among its problems.

    Raises:
        StoreError: If the store cannot be written.
        BackboneError: If a backbone cannot be loaded.
        RunFailedError: If a worker dies before the recording has begun.
        MissingExtraError: If the engine is not installed.
    """
    began = time.monotonic()
    deadline = time.time() + (math.inf if time_limit_seconds is None else time_limit_seconds)
    store.check_writable()
    with open_pool(engine, workers) as pool:
        keyed, problems = _plan(runs, pool, offline)
        if fresh:
            store.remove(keyed)
        stored = store.ids(keyed)
        pending = {key: run for key, run in keyed.items() if key not in stored}
        watch = _Watch(store, pending, len(stored), on_trace)
        if on_planned:
            on_planned(watch.progress())
        crew = _Crew(pool, Job(store.url, offline, deadline, cache_limit_bytes), watch)
        crew.record(group_runs(pending, workers))
    return watch.summary(problems | crew.problems, time.monotonic() - began)


def _plan(
    runs: Sequence[PlannedRun], pool: Pool, offline: bool
) -> tuple[dict[str, PlannedRun], dict[str, str]]:
    """Look at every task and backbone once; return key -> run, and task -> problem."""
    backbones = _look(pool, look_at_backbone, (run.backbone for run in runs), offline)
    for facts in backbones.values():
        if facts.problem:
            raise BackboneError(facts.problem, facts.cure)
    tasks = _look(pool, look_at_task, (run.task for run in runs), offline)
    problems = problems_of(runs, tasks, backbones)
    sound = [run for run in runs if run.task not in problems]
    return key_runs(sound, tasks, backbones), problems


def _look(
    pool: Pool, look: Callable[[str, bool], _Facts], names: Iterable[str], offline: bool
) -> dict[str, _Facts]:
    """Let the workers look at each name once."""
    futures = {name: pool.submit(look, name, offline) for name in dict.fromkeys(names)}
    try:
        return {name: future.result() for name, future in futures.items()}
    except Exception as error:
        if not pool.is_death(error):
            raise
        raise RunFailedError(
            "a worker process died while it loaded the tasks or the backbone, often for want "
            "of memory; try fewer workers"
        ) from error


class _Watch:
    """Sees in the store which runs have ended, so it works for workers anywhere."""

    def __init__(
        self,
        store: TraceStore,
        pending: Mapping[str, PlannedRun],
        skipped: int,
        on_trace: OnTrace | None,
    ) -> None:
        self.store = store
        self.pending = dict(pending)
        self.total = len(pending)
        self.skipped = skipped
        self.on_trace = on_trace
        self.began = time.monotonic()
        self.statuses: Counter[str] = Counter()
        self.seconds_of_traces = 0.0

    def look(self) -> None:
        """Report the runs that have ended since the last look."""
        for trace in self.store.traces(self.pending):
            del self.pending[trace.trace_id]
            self.statuses[trace.status] += 1
            seconds = trace.costs.wall_seconds + trace.overhead_seconds
            self.seconds_of_traces += seconds if math.isfinite(seconds) else 0.0
            if self.on_trace:
                self.on_trace(trace, self.progress())

    def progress(self) -> Progress:
        """Return how far the recording is."""
        done = self.total - len(self.pending)
        seconds = time.monotonic() - self.began
        left = seconds / done * len(self.pending) if done else math.nan
        return Progress(done, self.total, self.skipped, left)

    def summary(self, problems: Mapping[str, str], wall_seconds: float) -> RecordingSummary:
        """Sum the recording up."""
        done = self.total - len(self.pending)
        return RecordingSummary(
            recorded=done,
            skipped=self.skipped,
            left=sum(run.task not in problems for run in self.pending.values()),
            statuses=dict(self.statuses),
            problems=problems,
            wall_seconds=wall_seconds,
            seconds_per_trace=self.seconds_of_traces / done if done else math.nan,
        )


class _Crew:
    """Gives groups to workers, and finds the run that a worker died of."""

    def __init__(self, pool: Pool, job: Job, watch: _Watch) -> None:
        self.pool = pool
        self.job = job
        self.watch = watch
        self.problems: dict[str, str] = {}

    def record(self, groups: Iterable[RunGroup]) -> None:
        """Record every group to its end, whatever happens to the workers."""
        waiting = deque(groups)
        while waiting:
            for group in self._round(waiting):
                self._retry_first(group)
                if self._is_open(group):
                    waiting.append(group)

    def _round(self, waiting: deque[RunGroup]) -> list[RunGroup]:
        """Record the groups that wait until all have ended or a worker dies.

        Only as many as there are workers are given out at once, so it is known which groups
        were in flight.

        Returns:
            Groups that a dying worker left.
        """
        in_flight: dict[Future[str], RunGroup] = {}
        abandoned: list[RunGroup] = []
        while in_flight or (waiting and not abandoned):
            while waiting and not abandoned and len(in_flight) < self.pool.workers:
                group = waiting.popleft()
                in_flight[self.pool.submit(record_group, group, self.job)] = group
            ended, _ = concurrent.futures.wait(
                in_flight, _SECONDS_BETWEEN_LOOKS, concurrent.futures.FIRST_COMPLETED
            )
            for future in ended:
                group = in_flight.pop(future)
                if not self._has_ended(future, group):
                    abandoned.append(group)
            self.watch.look()
        if abandoned:
            self.pool.restart()
        return abandoned

    def _has_ended(self, future: Future[str], group: RunGroup) -> bool:
        """Note a group's problem; say whether its worker lived to the end of it."""
        try:
            problem = future.result()
        except StoreError:
            raise
        except Exception as error:
            if self.pool.is_death(error):
                return False
            raise
        if problem:
            self.problems[group.task] = problem
        return True

    def _is_open(self, group: RunGroup) -> bool:
        return group.task not in self.problems and any(
            key in self.watch.pending for key in group.runs
        )

    def _retry_first(self, group: RunGroup) -> None:
        """Make a group's first open run alone; set it aside when its worker dies again."""
        if not self._is_open(group):
            return
        key = next(key for key in group.runs if key in self.watch.pending)
        alone = dataclasses.replace(group, runs={key: group.runs[key]})
        for _ in range(_ATTEMPTS - 1):
            if not self._round(deque([alone])):
                return
        reason = f"its worker process died {_ATTEMPTS} times, often for want of memory"
        try:
            self.pool.submit(set_aside, alone, self.job, reason).result()
            self.watch.look()
        except Exception as error:
            if not self.pool.is_death(error):
                raise
            self.problems[group.task] = reason
            self.pool.restart()
