"""The recorder: many runs on worker processes, each stored as it ends, none made twice."""

from __future__ import annotations

import functools
import math
import operator
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from metaft.errors import BackboneError, RunFailedError
from metaft.traces.claims import LEASE_SECONDS
from metaft.traces.crew import SECONDS_BETWEEN_LOOKS, Crew
from metaft.traces.database import absolute_url
from metaft.traces.engine import EngineName, Pool, open_pool
from metaft.traces.plan import (
    BackboneFacts,
    TaskFacts,
    group_runs,
    key_runs,
    problems_of,
)
from metaft.traces.store import TraceStore
from metaft.traces.trace import PlannedRun, Trace
from metaft.traces.worker import Job, look_at_backbone, look_at_task, record_runs

_LOOKING_SHARE = 10  # So many times as long as a look takes, there is none.
_FEW_RUNS = 500
_Facts = TypeVar("_Facts")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording is.

    Attributes:
        done: Runs that have ended during this call, whoever made them.
        total: Runs that were not stored when this call began.
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
        recorded: Runs that ended during this call, whatever their status and whoever made
            them.
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
OnWait = Callable[[int], None]


def record(
    runs: Sequence[PlannedRun],
    store: TraceStore,
    *,
    workers: int = 1,
    engine: EngineName = "local",
    address: str | None = None,
    time_limit_seconds: float | None = None,
    cache_limit_bytes: int | None = None,
    offline: bool = False,
    fresh: bool = False,
    on_planned: OnPlanned | None = None,
    on_trace: OnTrace | None = None,
    on_wait: OnWait | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> RecordingSummary:
    """Make the runs that are not stored yet, on one-thread worker processes.

    Every trace is stored by its worker as soon as its run ends, so whatever ends a
    recording early, only the runs in flight are lost. A Ctrl-C ends the workers at once.
    A run that three workers died of is set aside as `failed`.

    Any number of recorders may work on one store, also on several machines: each run is
    claimed by one worker at a time. When all that is left is in the hands of others, this call
    waits for them, and takes over what they leave behind.

    Args:
        runs: What to record; a run that occurs twice is made once.
        store: Where the traces go.
        workers: Worker processes, >= 1.
        engine: `local`, or `ray` for a cluster.
        address: Of a Ray cluster that runs already; None starts one on this machine.
        time_limit_seconds: No run starts later than this, counted from the call.
        cache_limit_bytes: Memory of each worker for hidden states, beyond which they go to a
            temporary file; 0 turns their caching off, None is the default of `PrefixCache`.
        offline: Never ask the hub for tasks and backbones.
        fresh: Forget the stored traces of these runs first.
        on_planned: Called once in this process, when it is known what there is to do.
        on_trace: Called in this process for every run that has ended.
        on_wait: Called once in this process, with their number, when only such runs are left
            as other recorders make.
        lease_seconds: So long after its last sign of life a worker loses its claim.

    Returns:
        What was done. Tasks that cannot be recorded stand among its problems.

    Raises:
        StoreError: If the store cannot be written.
        BackboneError: If a backbone cannot be loaded.
        RunFailedError: If a worker dies before the recording has begun, or worker after
            worker before it has anything to do.
        MissingExtraError: If the engine is not installed.
    """
    began = time.monotonic()
    store.check_writable()
    deadline = math.inf if time_limit_seconds is None else store.claims.now() + time_limit_seconds
    with open_pool(engine, workers, address) as pool:
        plan = _plan(runs, pool, offline)
        if fresh:
            store.remove(plan.keyed)
        stored = store.ids(plan.keyed)
        pending = {key: run for key, run in plan.keyed.items() if key not in stored}
        watch = _Watch(store, pending, len(stored), on_trace, on_wait)
        if on_planned:
            on_planned(watch.progress())
        job = Job(
            absolute_url(store.url),
            offline,
            deadline,
            cache_limit_bytes,
            plan.tasks,
            plan.backbones,
            lease_seconds,
        )
        crew = Crew(pool, store.claims, record_runs, group_runs(pending), job)
        watch.owners = crew.owners
        said = crew.work(min(pool.workers, len(pending)), watch.look)
    problems = functools.reduce(operator.or_, said, plan.problems)
    return watch.summary(problems, time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Key -> run, task -> why it cannot be recorded, and what both were made from."""

    keyed: Mapping[str, PlannedRun]
    problems: dict[str, str]
    tasks: Mapping[str, TaskFacts]
    backbones: Mapping[str, BackboneFacts]


def _plan(runs: Sequence[PlannedRun], pool: Pool, offline: bool) -> _Plan:
    """Look at every task and backbone once.

    Raises:
        BackboneError: If a backbone cannot be loaded.
    """
    backbones = _look(pool, look_at_backbone, (run.backbone for run in runs), offline)
    for facts in backbones.values():
        if facts.problem:
            raise BackboneError(facts.problem, facts.cure)
    tasks = _look(pool, look_at_task, (run.task for run in runs), offline)
    problems = problems_of(runs, tasks, backbones)
    sound = [run for run in runs if run.task not in problems]
    return _Plan(key_runs(sound, tasks, backbones), problems, tasks, backbones)


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
        on_wait: OnWait | None = None,
    ) -> None:
        self.store = store
        self.pending = dict(pending)
        self.total = len(pending)
        self.skipped = skipped
        self.on_trace = on_trace
        self.on_wait = on_wait
        self.owners: set[str] = set()
        self.began = time.monotonic()
        self.statuses: Counter[str] = Counter()
        self.seconds_of_traces = 0.0

    def look(self) -> float | None:
        """Report the runs that have ended since the last look, whoever made them.

        Returns:
            Seconds to the next look, None when all runs have ended.
        """
        began = time.monotonic()
        for trace in self.store.traces(self.pending):
            del self.pending[trace.trace_id]
            self.statuses[trace.status] += 1
            seconds = trace.costs.wall_seconds + trace.overhead_seconds
            self.seconds_of_traces += seconds if math.isfinite(seconds) else 0.0
            if self.on_trace:
                self.on_trace(trace, self.progress())
        self._look_for_others()
        seconds = time.monotonic() - began  # A look at very many runs takes longer.
        return max(SECONDS_BETWEEN_LOOKS, _LOOKING_SHARE * seconds) if self.pending else None

    def _look_for_others(self) -> None:
        """Say it once when all runs that are left are made by other recorders."""
        if not self.on_wait or not 0 < len(self.pending) <= _FEW_RUNS:
            return
        owners = self.store.claims.owners(self.pending)
        if len(owners) == len(self.pending) and self.owners.isdisjoint(owners.values()):
            self.on_wait(len(owners))
            self.on_wait = None

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
