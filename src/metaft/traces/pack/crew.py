"""Crew: the worker processes that make the runs of a pack, on one machine."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import multiprocessing
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from metaft.errors import PackError, RunFailedError, UserError
from metaft.traces.engine import ONE_THREAD, depend_on
from metaft.traces.pack.archive import Pack
from metaft.traces.plan import RunGroup, group_runs
from metaft.traces.trace import PlannedRun, Trace

if TYPE_CHECKING:
    from metaft.finetuning.device import Device
    from metaft.traces.bench import Bench

_ATTEMPTS = 3
# Each worker is a process of its own, started anew: a fork of a process with threads may
# hang, and CUDA does not survive one.
_PROCESSES = multiprocessing.get_context("spawn")
_READY, _TRACE, _PROBLEM = "ready", "trace", "problem"


@dataclass(frozen=True, slots=True)
class Orders:
    """What is the same for all workers.

    Attributes:
        pack: The file.
        device: Where they compute.
        deadline: No run starts after this time (seconds since 1970).
    """

    pack: Path
    device: Device = "auto"
    deadline: float = math.inf


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    is_ready: bool = False
    group: RunGroup | None = None


class Crew:
    """Makes runs in worker processes, and outlives them.

    A run whose worker dies, or that runs out of memory beside other runs, is made again
    alone: neighbours may have taken its memory. When its worker dies three times, it is set
    aside as failed.

    Args:
        orders: For all workers.
        workers: Processes, >= 1.
        on_trace: Called with each trace and its line when its run has ended.
    """

    def __init__(
        self, orders: Orders, workers: int, on_trace: Callable[[Trace, str], None]
    ) -> None:
        self._orders, self._workers, self._on_trace = orders, workers, on_trace
        self._open: dict[str, PlannedRun] = {}
        self._again: dict[str, PlannedRun] = {}
        self._deaths: Counter[str] = Counter()
        self._waiting: deque[RunGroup] = deque()
        self._crew: list[_Worker] = []
        self._is_alone = False

    def make(self, runs: Mapping[str, PlannedRun]) -> None:
        """Make the runs, as many at once as there are workers, until the deadline.

        Args:
            runs: Key -> run.

        Raises:
            UserError: If a worker cannot begin, for example without a library.
            RunFailedError: If a worker dies before it has begun.
        """
        os.environ.update(ONE_THREAD, HF_HUB_OFFLINE="1")  # Read by the workers' libraries.
        self._open = dict(runs)
        try:
            self._round(runs, self._workers)
            if time.time() < self._orders.deadline:
                self._round(self._again, 1)
        finally:
            for worker in self._crew:
                worker.process.kill()
                worker.process.join()

    def _round(self, runs: Mapping[str, PlannedRun], workers: int) -> None:
        """Make runs until every worker has gone home."""
        self._is_alone = workers == 1
        self._waiting = deque(group_runs(runs, workers))
        self._crew = [self._start() for _ in range(min(workers, len(self._waiting)))]
        while self._crew:
            talking = {worker.connection: worker for worker in self._crew}
            for connection in wait(list(talking)):
                worker = talking[connection]  # type: ignore[index]
                try:
                    kind, *words = worker.connection.recv()
                except (EOFError, OSError):
                    self._bury(worker)
                else:
                    self._hear(worker, kind, words)

    def _start(self) -> _Worker:
        ours, theirs = _PROCESSES.Pipe()
        process = _PROCESSES.Process(target=work, args=(theirs, self._orders), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _hear(self, worker: _Worker, kind: str, words: list[str]) -> None:
        if kind == _PROBLEM:
            raise PackError(*words)
        if kind == _TRACE:
            self._keep(words[0])
            return
        worker.is_ready = True
        worker.group = self._waiting.popleft() if self._waiting else None
        with contextlib.suppress(BrokenPipeError):  # It has died: the next look buries it.
            worker.connection.send(self._order(worker.group))
        if worker.group is None:
            self._crew.remove(worker)
            worker.process.join()

    def _order(self, group: RunGroup | None) -> tuple[RunGroup, str] | None:
        """Say what a worker is to do: make the runs, or set them aside for a reason."""
        if group is None:
            return None
        deaths = max(self._deaths[key] for key in group.runs)
        reason = f"its worker process died {deaths} times, often for want of memory"
        return group, reason if self._is_alone and deaths >= _ATTEMPTS else ""

    def _keep(self, line: str) -> None:
        trace = Trace.from_json(line)
        run = self._open.pop(trace.trace_id)
        if trace.status == "out_of_memory" and not self._is_alone:
            self._again[trace.trace_id] = self._open[trace.trace_id] = run
        else:
            self._on_trace(trace, line)

    def _bury(self, worker: _Worker) -> None:
        """Give what a dead worker left to another one; the run it died of comes again, alone."""
        worker.process.join()
        self._crew.remove(worker)
        if not worker.is_ready:
            raise RunFailedError(
                "a worker process died while it loaded the backbone "
                f"(exit status {worker.process.exitcode}), often for want of memory; "
                "try fewer workers"
            )
        if worker.group:
            self._requeue(worker.group)
        if self._waiting:
            self._crew.append(self._start())

    def _requeue(self, group: RunGroup) -> None:
        later = {} if self._is_alone else self._again
        left = {k: run for k, run in group.runs.items() if k in self._open and k not in later}
        if not left:
            return
        key = next(iter(left))  # A worker makes the runs of a group in their order.
        self._deaths[key] += 1
        first = {key: left.pop(key)}
        if left:
            self._waiting.append(dataclasses.replace(group, runs=left))
        if self._is_alone:
            self._waiting.appendleft(dataclasses.replace(group, runs=first))
        else:
            self._again |= first


def work(connection: Connection, orders: Orders) -> None:
    """Do as a crew says, until it says no more: the life of a worker process."""
    crew = multiprocessing.parent_process()
    if crew is not None and crew.pid is not None:
        depend_on(crew.pid)
    try:
        shop = _Shop(orders)
    except UserError as error:
        connection.send((_PROBLEM, error.problem, error.cure))
        return
    except ImportError as error:
        cure = f"Install it here: pip install {(error.name or 'it').partition('.')[0]}"
        connection.send((_PROBLEM, f"the runs cannot begin: {error}", cure))
        return
    connection.send((_READY,))
    while (order := connection.recv()) is not None:
        for line in shop.lines(*order):
            connection.send((_TRACE, line))
        connection.send((_READY,))


class _Shop:
    """What a worker process keeps from run to run: the pack, and the backbone out of it."""

    def __init__(self, orders: Orders) -> None:
        import torch

        from metaft.finetuning.device import resolve_compute

        self._orders = orders
        self._pack = Pack(orders.pack)
        resolve_compute(orders.device, "auto")
        torch.set_num_threads(1)
        self._backbone = self._pack.backbone()

    def lines(self, group: RunGroup, reason: str) -> Iterator[str]:
        """Make the runs of a group, and give a line for each; or set them aside."""
        began = time.perf_counter()
        bench: Bench | None = None
        for run in self._in_time(group.runs.values()):
            bench = bench or self._set_up(group)
            trace = bench.set_aside(run, reason) if reason else _made(bench, run, began)
            began = time.perf_counter()
            yield trace.to_json()

    def _in_time(self, runs: Iterable[PlannedRun]) -> Iterator[PlannedRun]:
        for run in runs:
            if time.time() >= self._orders.deadline:
                return
            yield run

    def _set_up(self, group: RunGroup) -> Bench:
        from metaft.traces.bench import Bench
        from metaft.traces.pack.rows import task_from

        packed = self._pack.manifest.tasks[group.task]
        arrays = self._pack.arrays(packed.file)
        rows = task_from(arrays, packed, (group.train_rows, group.seed))
        recipes = [run.recipe for run in group.runs.values()]
        return Bench(rows, packed.fingerprint, self._backbone, recipes, device=self._orders.device)


def _made(bench: Bench, run: PlannedRun, began: float) -> Trace:
    """Make a run; nobody can cure a pack where it runs, so a run that does not fit has failed."""
    try:
        return bench.record(run, began)
    except UserError as error:
        return bench.set_aside(run, f"{type(error).__name__}: {error}")
