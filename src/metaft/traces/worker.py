"""What the worker processes of a recording do."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from metaft.errors import StoreError, TaskError, UserError
from metaft.tasks.load import load_task
from metaft.tasks.split import subsample
from metaft.traces.claims import LEASE_SECONDS, MAX_ATTEMPTS, Claim
from metaft.traces.heartbeat import Heartbeat
from metaft.traces.plan import BackboneFacts, RunGroup, TaskFacts
from metaft.traces.store import TraceStore
from metaft.traces.trace import TEST_ROWS, VALIDATION_ROWS, Trace

if TYPE_CHECKING:
    from metaft.backbones.backbone import Backbone
    from metaft.tasks.task import Task
    from metaft.traces.bench import Bench

_LOGGER = logging.getLogger(__name__)
_SECONDS_BETWEEN_LOOKS = 1.0

WHY_SET_ASIDE = (
    f"its worker process died or fell silent {MAX_ATTEMPTS} times, often for want of memory"
)
"""Why a run counts as failed that was never seen to end."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is the same for all groups of a recording.

    Attributes:
        store_url: Where the traces go; the store must be there.
        offline: Never ask the hub.
        deadline: No run starts after this time on the store's clock (seconds since 1970).
        cache_limit_bytes: Memory for hidden states, see `PrefixCache`; None is its default.
        tasks, backbones: Name -> what the plan was made with.
        lease_seconds: So long after its last sign of life a worker loses its claim.
    """

    store_url: str
    offline: bool
    deadline: float
    cache_limit_bytes: int | None = None
    tasks: Mapping[str, TaskFacts] = field(default_factory=dict)
    backbones: Mapping[str, BackboneFacts] = field(default_factory=dict)
    lease_seconds: float = LEASE_SECONDS


def look_at_backbone(identity: str, offline: bool) -> BackboneFacts:
    """Load a backbone and say what the plan must know; a problem is an answer."""
    try:
        backbone = load_once(identity, offline)
    except UserError as error:
        return BackboneFacts(problem=error.problem, cure=error.cure)
    return BackboneFacts(backbone.fingerprint, backbone.modality)


def look_at_task(name: str, offline: bool) -> TaskFacts:
    """Load a task and say what the plan must know; a problem is an answer."""
    try:
        task = load_task(name, offline=offline)
    except UserError as error:
        return TaskFacts(problem=str(error))
    return TaskFacts(
        task.fingerprint, len(task.train), task.modality, kind=task.kind, metric=task.metric
    )


def record_runs(groups: Sequence[RunGroup], job: Job, owner: str) -> dict[str, str]:
    """Make runs that nobody else makes, one by one, until all runs of the groups are stored.

    Any number of workers may do this with the same groups, wherever they are. When all that
    is left is in the hands of others, this one waits in case they die.

    Args:
        groups: In the order in which they are taken; those in which nobody works come first.
        job: What is the same for all of them.
        owner: Under this name the runs are claimed.

    Returns:
        Task -> why it cannot be recorded here.

    Raises:
        StoreError: If the store cannot be read or written.
    """
    store = _open_store(job.store_url)
    with Heartbeat(store.claims, job.lease_seconds) as heartbeat:
        shift = _Shift(groups, job, owner, store, heartbeat)
        shift.work()
    return shift.problems


class _Shift:
    """What one worker does from its start to its end."""

    def __init__(
        self,
        groups: Sequence[RunGroup],
        job: Job,
        owner: str,
        store: TraceStore,
        heartbeat: Heartbeat,
    ) -> None:
        self.open = list(groups)
        self.job = job
        self.owner = owner
        self.store = store
        self.heartbeat = heartbeat
        self.problems: dict[str, str] = {}

    def work(self) -> None:
        """Record group after group; in the end share those in which others work."""
        while self.open and not self._is_over():
            if not (self._record_alone() or self._record_with_others()) and self.open:
                time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _record_alone(self) -> bool:
        """Record the first group in which nobody works; forget those that are complete."""
        for group in list(self.open):
            free, claimed = self._look(group)
            if not free and not claimed:
                self.open.remove(group)
            elif not claimed and self._record(group, self._claim(group, free[:1])):
                return True
        return False

    def _record_with_others(self) -> bool:
        """Help with the group in which the most is left to do."""
        free_in = [(self._look(group)[0], group) for group in self.open]
        for free, group in sorted(free_in, key=lambda found: -len(found[0])):
            if self._record(group, self._claim(group, free)):
                return True
        return False

    def _look(self, group: RunGroup) -> tuple[list[str], set[str]]:
        """Return the keys of a group's runs that nobody makes, and of those that someone does.

        Runs that workers were lost over come last: when machines are killed again and again,
        it is not always the same run that is hit.
        """
        # Claims first: a run that is stored in between then counts as stored, not as free.
        claimed = set(self.store.claims.owners(group.runs))
        stored = self.store.ids(group.runs)
        free = [key for key in group.runs if key not in claimed and key not in stored]
        losses = self.store.claims.losses(free)
        return sorted(free, key=lambda key: losses.get(key, 0)), claimed - stored

    def _record(self, group: RunGroup, claim: Claim | None) -> bool:
        """Make a claimed run and what else nobody makes of its group; False without a claim."""
        if not claim:
            return False
        began = time.perf_counter()
        try:
            bench = self._set_up(group)
            while bench and claim:
                trace = self._make(bench, group, claim, began)
                if trace is None:
                    break
                began = time.perf_counter()
                self._store(trace, claim)
                claim = self._claim(group, self._look(group)[0])
        finally:
            self._let_go(claim)
        return True

    def _set_up(self, group: RunGroup) -> Bench | None:
        """Load what the runs of a group share; what cannot be loaded is left out."""
        try:
            return _set_up(group, self.job)
        except UserError as error:
            problem = str(error)
        except Exception as error:
            _LOGGER.info("%s cannot be loaded", group.task, exc_info=True)
            problem = f"it cannot be loaded: {type(error).__name__}: {error}"
        self._leave_out(group.task, problem)
        return None

    def _make(self, bench: Bench, group: RunGroup, claim: Claim, began: float) -> Trace | None:
        """Make a run; a recipe that cannot be run here is the problem of its task."""
        try:
            return bench.record(group.runs[claim.trace_id], began)
        except UserError as error:
            self._leave_out(group.task, str(error))
            return None

    def _leave_out(self, task: str, problem: str) -> None:
        self.problems[task] = problem
        self.open = [group for group in self.open if group.task != task]

    def _claim(self, group: RunGroup, keys: Sequence[str]) -> Claim | None:
        """Claim one of these runs; those that too many workers died of are set aside."""
        for key in keys:
            if self._is_over():
                return None
            claim = self.store.claims.take(key, self.owner, self.job.lease_seconds)
            if claim and claim.attempt > MAX_ATTEMPTS:
                self._store(_set_aside(group, key, self.job), claim)
            elif claim:
                self.heartbeat.hold(claim)
                return claim
        return None

    def _store(self, trace: Trace, claim: Claim) -> None:
        is_stored = self.store.add(trace, claim)
        self.heartbeat.hold(None)  # Only now: a store that is locked may keep us waiting.
        if not is_stored:
            _LOGGER.warning(
                "a run on %s is not stored: this worker was silent for %.0f seconds or more, "
                "and another makes or made it",
                trace.task,
                self.job.lease_seconds,
            )

    def _let_go(self, claim: Claim | None) -> None:
        """Give a claim back that this worker will not use, so that no one waits for it."""
        self.heartbeat.hold(None)
        if claim:
            with contextlib.suppress(StoreError):
                self.store.claims.give_back(claim)

    def _is_over(self) -> bool:
        return self.job.deadline < math.inf and self.store.claims.now() >= self.job.deadline


def _set_aside(group: RunGroup, key: str, job: Job) -> Trace:
    """Return the failed Trace of a run that its workers died of, without loading anything."""
    from metaft.traces.bench import set_aside

    task = job.tasks[group.task]
    fingerprints = task.fingerprint, job.backbones[group.backbone].fingerprint
    return set_aside(group.runs[key], task, fingerprints, WHY_SET_ASIDE)


def _set_up(group: RunGroup, job: Job) -> Bench:
    """Load what the runs of a group share."""
    from metaft.traces.bench import Bench

    task = load_task(group.task, offline=job.offline)
    backbone = load_once(group.backbone, job.offline)
    check_same(group.task, task.fingerprint, job.tasks[group.task].fingerprint)
    check_same(group.backbone, backbone.fingerprint, job.backbones[group.backbone].fingerprint)
    return Bench(
        sample_rows(task, group.train_rows, group.seed),
        task.fingerprint,
        backbone,
        recipes=[run.recipe for run in group.runs.values()],
        cache_limit_bytes=job.cache_limit_bytes,
    )


def sample_rows(task: Task, train_rows: int | None, seed: int) -> Task:
    """Return the rows that recorded runs use, and so the trials of searches; None takes all."""
    return subsample(
        task,
        train_rows=train_rows,
        validation_rows=VALIDATION_ROWS,
        test_rows=TEST_ROWS,
        seed=seed,
    )


def check_same(name: str, fingerprint: str, planned: str) -> None:
    """Refuse what is not what the runs were keyed by.

    Raises:
        TaskError: If it has changed, or is another on this machine.
    """
    if planned != fingerprint:
        raise TaskError(
            f"{name!r} has the fingerprint {fingerprint} on {platform.node()}; the recording was "
            f"planned with {planned}",
            "Give all machines the same files, and call again",
        )


@functools.lru_cache(maxsize=1)
def load_once(identity: str, offline: bool) -> Backbone:
    """Load a backbone once per process; runs train copies of it."""
    from metaft.backbones.load import load_backbone

    backbone = load_backbone(identity, offline=offline)

    import torch

    torch.set_num_threads(1)
    return backbone


@functools.lru_cache(maxsize=1)
def _open_store(url: str) -> TraceStore:
    """Open the store once per process."""
    return TraceStore(url, must_exist=True)
