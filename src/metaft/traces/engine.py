"""Engines: where the worker processes of a recording live."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from typing import Any, Literal, Protocol, cast

from metaft.errors import MissingExtraError, UserError

EngineName = Literal["local", "ray"]

_SECONDS_BETWEEN_LOOKS = 1.0

# Two one-thread processes are faster than one two-thread process on two cores, and threads
# that wait for each other beside a busy neighbour fall to a tenth of their speed. These are
# read when torch is imported, so they must be in place before.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class Pool(Protocol):
    """One-thread worker processes that take jobs, the first given first.

    The death of a worker fails its own job and no other, and it is replaced.
    """

    workers: int

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run a function of a module in some worker."""

    def is_death(self, error: Exception) -> bool:
        """Say whether a job ended because its worker died, and not by its own error."""

    def stop(self) -> None:
        """End the workers at once, whatever they do; a second call does nothing."""


@contextlib.contextmanager
def open_pool(engine: EngineName, workers: int, address: str | None = None) -> Iterator[Pool]:
    """Start workers, and end them afterwards, whatever they do.

    Args:
        engine: `local` (joblib's loky) or `ray`.
        workers: Processes, >= 1.
        address: Of a Ray cluster that runs already; None starts one on this machine.

    Raises:
        UserError: For a number of workers below 1, or an address where there is no cluster.
        MissingExtraError: If the engine is not installed.
    """
    if workers < 1:
        raise UserError(f"workers is {workers}; allowed is 1 or more", "Set workers to that")
    if address and engine != "ray":
        raise UserError(
            f"address is {address!r}, and the engine {engine}; only the engine ray has an address",
            "Leave --address out, or use --engine ray",
        )
    pool: Pool = _LocalPool(workers) if engine == "local" else _RayPool(workers, address)
    try:
        yield pool
    finally:
        pool.stop()


class _LocalPool:
    """Processes of this machine, started anew: a fork of a process with threads may hang.

    Each worker is an executor of its own: loky ends all processes of one when one dies.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._executors: dict[int, Any] = {}
        self._jobs: list[list[Future[Any]]] = [[] for _ in range(workers)]

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        place = self._least_busy()
        try:
            future = self._executor(place).submit(function, *arguments)
        except BrokenExecutor:  # Its worker has died.
            del self._executors[place]
            future = self._executor(place).submit(function, *arguments)
        self._jobs[place].append(future)
        return cast("Future[Any]", future)

    def is_death(self, error: Exception) -> bool:
        return isinstance(error, BrokenExecutor)

    def stop(self) -> None:
        for executor in self._executors.values():
            executor.shutdown(wait=True, kill_workers=True)
        self._executors.clear()

    def _least_busy(self) -> int:
        self._jobs = [[job for job in jobs if not job.done()] for jobs in self._jobs]
        return min(range(self.workers), key=lambda place: len(self._jobs[place]))

    def _executor(self, place: int) -> Any:
        from joblib.externals.loky import ProcessPoolExecutor

        if place not in self._executors:
            self._executors[place] = ProcessPoolExecutor(
                max_workers=1, env=ONE_THREAD, initializer=depend_on, initargs=(os.getpid(),)
            )
        return self._executors[place]


def depend_on(parent: int) -> None:
    """Make a worker leave Ctrl-C to its parent, and end when the parent is gone.

    A Ctrl-C reaches every process of a terminal, and the parent ends its workers itself; but
    a parent that is killed cannot, and loky's workers would wait for it for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)


class _RayPool:
    """Tasks of a Ray cluster, one core each and an equal share of the graphics cards."""

    def __init__(self, workers: int, address: str | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError(
                "the engine ray needs the Python package ray, which is not installed",
                "Install it (pip install ray), or use the engine local",
            ) from error
        self.workers = workers
        self._ray = ray
        self._refs: list[Any] = []
        self._is_own = not ray.is_initialized()
        if self._is_own:
            self._connect(address)
        cards = ray.cluster_resources().get("GPU", 0)
        self._remote = ray.remote(_call).options(
            num_cpus=1,
            num_gpus=min(1.0, round(cards / workers, 3)),  # With 0, Ray would hide them.
            max_retries=0,
            runtime_env={"env_vars": ONE_THREAD},
        )

    def _connect(self, address: str | None) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if address:
                self._ray.init(address=address, **quiet)
            else:
                self._ray.init("local", num_cpus=self.workers, include_dashboard=False, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"no Ray cluster answers at {address!r}: {error}",
                "Check --address and that the cluster runs (ray status), or leave it out",
            ) from error

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        self._refs.append(self._remote.remote(function, *arguments))
        future: Future[Any] = Future()
        self._refs[-1].future().add_done_callback(lambda done: self._pass_on(done, future))
        return future

    def _pass_on(self, done: Future[Any], future: Future[Any]) -> None:
        """Hand on what a task returned or raised; Ray wraps an error in one of its own."""
        error = done.exception()
        if error is None:
            future.set_result(done.result())
        elif isinstance(error, self._ray.exceptions.RayTaskError):
            future.set_exception(error.cause)
        else:
            future.set_exception(error)

    def is_death(self, error: Exception) -> bool:
        return isinstance(error, self._ray.exceptions.RayError)

    def stop(self) -> None:
        for ref in self._refs:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.cancel(ref, force=True)
        self._refs.clear()
        if self._is_own:
            self._ray.shutdown()


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)
