"""Working: making the trials of searches, here or on worker processes, each claimed first."""

from __future__ import annotations

import contextlib
import functools
import math
import operator
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from metaft.backbones.backbone import Backbone
from metaft.errors import RecipeError, StoreError, UserError
from metaft.finetuning.device import Device
from metaft.searching.fit import check_space
from metaft.searching.proposals import Proposal
from metaft.searching.walk import SearchPlan, Walk
from metaft.tasks.load import load_task
from metaft.tasks.task import Task
from metaft.traces.bench import Bench, set_aside
from metaft.traces.claims import LEASE_SECONDS, MAX_ATTEMPTS, Claim, new_owner
from metaft.traces.crew import SECONDS_BETWEEN_LOOKS, Crew
from metaft.traces.database import absolute_url
from metaft.traces.engine import open_pool
from metaft.traces.heartbeat import Heartbeat
from metaft.traces.store import TraceStore
from metaft.traces.trace import Trace
from metaft.traces.worker import WHY_SET_ASIDE, check_same, load_once, sample_rows

_SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True, eq=False)
class Material:
    """What the runs of a search are made from: its rows and its backbone."""

    rows: Task
    backbone: Backbone


@dataclass(frozen=True, slots=True)
class Ended:
    """What a worker did.

    Attributes:
        made: Keys of the runs that it made.
        problems: Task -> why it cannot be searched on.
    """

    made: frozenset[str]
    problems: dict[str, str]


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker process is told.

    Attributes:
        store_url: Where trials are and go; the store must be there.
        searches: What is to be made.
        deadline: No run starts after this time on the store's clock (seconds since 1970).
        offline: Never ask the hub.
        cache_limit_bytes: See `PrefixCache`.
    """

    store_url: str
    searches: tuple[SearchPlan, ...]
    deadline: float
    offline: bool
    cache_limit_bytes: int | None


def deadline_of(store: TraceStore, time_limit_seconds: float | None) -> float:
    """Return the time on the store's clock after which no run starts."""
    return math.inf if time_limit_seconds is None else store.claims.now() + time_limit_seconds


def make_trials(
    walks: Sequence[Walk],
    store: TraceStore,
    load: Callable[[SearchPlan], Material],
    *,
    deadline: float,
    cache_limit_bytes: int | None = None,
    device: Device = "auto",
    owner: str | None = None,
) -> Ended:
    """Make trials in this process that nobody else makes, until the searches are over.

    Any number of processes may do this with the same searches. When all that may be tried next
    is in the hands of others, this one waits for them.

    Args:
        walks: The searches, in the order in which they are taken.
        store: Theirs.
        load: Gives what the runs of a search are made from.
        deadline: No run starts later, see `deadline_of`.
        cache_limit_bytes: See `PrefixCache`.
        device: As for `fine_tune`.
        owner: Under this name runs are claimed; None takes a new one.

    Raises:
        StoreError: If the store cannot be read or written.
    """
    with Heartbeat(store.claims, LEASE_SECONDS) as heartbeat:
        shift = _Shift(
            open=list(walks),
            store=store,
            load=load,
            deadline=deadline,
            cache_limit_bytes=cache_limit_bytes,
            device=device,
            owner=owner or new_owner(),
            heartbeat=heartbeat,
        )
        shift.work()
    return Ended(frozenset(shift.made), shift.problems)


@dataclass(eq=False)
class _Shift:
    """What one worker does from its start to its end."""

    open: list[Walk]
    store: TraceStore
    load: Callable[[SearchPlan], Material]
    deadline: float
    cache_limit_bytes: int | None
    device: Device
    owner: str
    heartbeat: Heartbeat
    made: set[str] = field(default_factory=set)
    problems: dict[str, str] = field(default_factory=dict)
    _bench: tuple[Walk, Bench] | None = None

    def work(self) -> None:
        """Make one trial after the other; stay with a search while it has any."""
        while self.open and not self._is_over():
            walk = next(filter(self._make_one, list(self.open)), None)
            if walk in self.open:
                self.open.remove(walk)
                self.open.insert(0, walk)
            elif walk is None and self.open:
                time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _make_one(self, walk: Walk) -> bool:
        """Make a trial of a search that nobody makes; False where there is none."""
        if walk not in self.open:
            return False
        for proposal in walk.to_make():
            key = walk.plan.ground.key_of(proposal.recipe)
            claim = self.store.claims.take(key, self.owner)
            if claim:
                self._make(walk, proposal, claim)
                return True
        if walk.is_over:
            self.open.remove(walk)
        return False

    def _make(self, walk: Walk, proposal: Proposal, claim: Claim) -> None:
        """Make a claimed run, unless someone has stored meanwhile what answers it."""
        self.heartbeat.hold(claim)
        is_settled = False
        try:
            if walk.runs.answer(proposal) is None:
                trace = self._record(walk, proposal, claim)
                is_settled = trace is not None and self._store(trace, claim)
        finally:
            self.heartbeat.hold(None)
            if not is_settled:
                with contextlib.suppress(StoreError):
                    self.store.claims.give_back(claim)

    def _record(self, walk: Walk, proposal: Proposal, claim: Claim) -> Trace | None:
        ground = walk.plan.ground
        run = ground.run_of(proposal.recipe)
        if claim.attempt > MAX_ATTEMPTS:
            return set_aside(run, ground, ground.fingerprints, WHY_SET_ASIDE)
        began = time.perf_counter()
        bench = self._bench_for(walk)
        if bench is None:
            return None
        try:
            return bench.record(run, began, walk.runs.stop(proposal, ground.metric))
        except RecipeError as error:  # Values that fit one by one, but not together.
            return bench.set_aside(run, f"{type(error).__name__}: {error}")
        except UserError as error:
            self._leave_out(ground.task, str(error))
            return None

    def _store(self, trace: Trace, claim: Claim) -> bool:
        is_stored = self.store.add(trace, claim)
        if is_stored:
            self.made.add(trace.trace_id)
        return is_stored

    def _bench_for(self, walk: Walk) -> Bench | None:
        """Set up what the runs of a search share; a task that cannot be had is left out."""
        if self._bench and self._bench[0] is walk:
            return self._bench[1]
        self._bench = None  # Its cache goes before the next one fills.
        ground = walk.plan.ground
        try:
            material = self.load(walk.plan)
        except UserError as error:
            self._leave_out(ground.task, str(error))
            return None
        bench = Bench(
            material.rows,
            ground.task_fingerprint,
            material.backbone,
            cache_limit_bytes=self.cache_limit_bytes,
            device=self.device,
        )
        self._bench = walk, bench
        return bench

    def _leave_out(self, task: str, problem: str) -> None:
        self.problems[task] = problem
        self.open = [walk for walk in self.open if walk.plan.ground.task != task]

    def _is_over(self) -> bool:
        return _is_past(self.deadline, self.store)


def _is_past(deadline: float, store: TraceStore) -> bool:
    return deadline < math.inf and store.claims.now() >= deadline


def make_trials_side_by_side(
    walks: Sequence[Walk],
    store: TraceStore,
    *,
    workers: int,
    deadline: float,
    offline: bool = False,
    cache_limit_bytes: int | None = None,
) -> Ended:
    """Make the trials of searches on one-thread worker processes.

    Every trial is stored by its worker as soon as it ends, and a Ctrl-C ends the workers at once,
    so only the runs in flight are lost. A run that three workers died of is set aside as
    `failed`.

    Args:
        walks: The searches; those that are over give no work.
        store: Theirs.
        workers: Processes, >= 1.
        deadline: No run starts later, see `deadline_of`.
        offline: Never ask the hub for tasks and backbones.
        cache_limit_bytes: Of each worker, see `PrefixCache`.

    Raises:
        StoreError: If the store cannot be written.
        RunFailedError: If worker after worker dies before it has anything to do.
    """
    open_ones = [walk for walk in walks if not walk.is_over]
    if not open_ones or _is_past(deadline, store):
        return Ended(frozenset(), {})
    store.check_writable()
    most = sum(min(walk.plan.at_once, walk.plan.trials - len(walk.done)) for walk in open_ones)
    job = Job(
        absolute_url(store.url),
        tuple(walk.plan for walk in open_ones),
        deadline,
        offline,
        cache_limit_bytes,
    )
    with open_pool("local", min(workers, most)) as pool:
        said = Crew(pool, store.claims, work_on, job).work(pool.workers, lambda: _look(open_ones))
    made = frozenset().union(*(ended.made for ended in said))
    return Ended(made, functools.reduce(operator.or_, (ended.problems for ended in said), {}))


def _look(walks: Sequence[Walk]) -> float:
    for walk in walks:
        walk.look()
    return SECONDS_BETWEEN_LOOKS


def work_on(job: Job, owner: str) -> Ended:
    """Make trials in a worker process; see `make_trials`."""
    store = TraceStore(job.store_url, must_exist=True)
    return make_trials(
        [Walk(plan, store) for plan in job.searches],
        store,
        lambda plan: _load(plan, job.offline),
        deadline=job.deadline,
        cache_limit_bytes=job.cache_limit_bytes,
        owner=owner,
    )


def _load(plan: SearchPlan, offline: bool) -> Material:
    """Load rows and backbone, and see that they are what the plan was made for.

    Raises:
        UserError: If they cannot be loaded, are others, or the space does not fit them.
    """
    ground = plan.ground
    task = load_task(ground.dataset, columns=ground.columns, offline=offline)
    backbone = load_once(ground.backbone, offline)
    check_same(ground.dataset, task.fingerprint, ground.task_fingerprint)
    check_same(ground.backbone, backbone.fingerprint, ground.backbone_fingerprint)
    rows = sample_rows(task, ground.train_rows, plan.base.seed)
    check_space(plan.space, plan.base, rows, backbone)
    return Material(rows, backbone)
