"""Engines: where the worker processes of a recording live."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from typing import Any, Literal, Protocol

from metaft.errors import MissingExtraError, UserError

EngineName = Literal["local", "ray"]
ENGINES: tuple[EngineName, ...] = ("local", "ray")

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
    """One-thread worker processes that take jobs, the first given first."""

    workers: int

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run a function of a module in some worker."""

    def is_death(self, error: Exception) -> bool:
        """Say whether a job ended because its worker died, and not by its own error."""

    def restart(self) -> None:
        """Make the pool usable again after a worker has died."""

    def stop(self) -> None:
        """End the workers at once, whatever they do."""


@contextlib.contextmanager
def open_pool(engine: EngineName, workers: int) -> Iterator[Pool]:
    """Start workers, and end them afterwards, whatever they do.

    Args:
        engine: `local` (joblib's loky) or `ray`.
        workers: Processes, >= 1.

    Raises:
        UserError: For a number of workers below 1.
        MissingExtraError: If the engine is not installed.
    """
    if workers < 1:
        raise UserError(f"workers is {workers}; allowed is 1 or more", "Set workers to that")
    pool: Pool = _LocalPool(workers) if engine == "local" else _RayPool(workers)
    try:
        yield pool
    finally:
        pool.stop()


class _LocalPool:
    """Processes of this machine, started anew: a fork of a process with threads may hang."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.restart()

    def restart(self) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        self._executor = ProcessPoolExecutor(
            max_workers=self.workers,
            env=ONE_THREAD,
            initializer=depend_on,
            initargs=(os.getpid(),),
        )

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = self._executor.submit(function, *arguments)
        return future

    def is_death(self, error: Exception) -> bool:
        return isinstance(error, BrokenExecutor)

    def stop(self) -> None:
        self._executor.shutdown(wait=True, kill_workers=True)


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
    """Tasks of a Ray cluster, one core each."""

    def __init__(self, workers: int) -> None:
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
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        remote = self._ray.remote(function).options(
            num_cpus=1, max_retries=0, runtime_env={"env_vars": ONE_THREAD}
        )
        self._refs.append(remote.remote(*arguments))
        future: Future[Any] = self._refs[-1].future()
        return future

    def is_death(self, error: Exception) -> bool:
        exceptions = self._ray.exceptions
        is_own = isinstance(error, exceptions.RayTaskError)
        return isinstance(error, exceptions.RayError) and not is_own

    def restart(self) -> None:
        """Ray itself replaces a dead worker."""

    def stop(self) -> None:
        for ref in self._refs:
            self._ray.cancel(ref, force=True)
        if self._is_own:
            self._ray.shutdown()
