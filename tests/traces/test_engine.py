"""The pool of worker processes, with jobs that need no torch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from metaft.errors import UserError
from metaft.traces.engine import open_pool

_POOL_CODE = """
import os, time
from metaft.traces.engine import open_pool
if __name__ == "__main__":
    with open_pool("local", 1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_workers_compute_with_one_thread() -> None:
    with open_pool("local", 1) as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"


def test_a_dead_worker_is_told_from_an_error_and_replaced() -> None:
    with open_pool("local", 1) as pool:
        error = pool.submit(int, "no number").exception()
        assert isinstance(error, ValueError)
        assert not pool.is_death(error)
        death = pool.submit(os._exit, 1).exception()
        assert isinstance(death, Exception)
        assert pool.is_death(death)
        assert pool.submit(int, "1").result() == 1


def test_the_death_of_a_worker_leaves_the_others_alone() -> None:
    with open_pool("local", 2) as pool:
        neighbour = pool.submit(time.sleep, 1)
        assert isinstance(pool.submit(os._exit, 1).exception(), BrokenExecutor)
        assert neighbour.exception() is None


def test_an_address_is_for_ray_alone() -> None:
    with (
        pytest.raises(UserError, match="only the engine ray has an address"),
        open_pool("local", 1, "auto"),
    ):
        pass


def test_workers_end_with_the_pool() -> None:
    with open_pool("local", 1) as pool:
        worker = pool.submit(os.getpid).result()
        sleeping = pool.submit(time.sleep, 600)
        while not sleeping.running():
            time.sleep(0.01)
    assert not Path(f"/proc/{worker}").exists()


def test_workers_end_when_their_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _POOL_CODE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout
    worker = Path(f"/proc/{int(parent.stdout.readline())}")
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while worker.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not worker.exists()


def test_no_workers_are_refused() -> None:
    with (
        pytest.raises(UserError, match="workers is 0; allowed is 1 or more"),
        open_pool("local", 0),
    ):
        pass
