"""The recorder, with real worker processes on a tiny task and a tiny backbone."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from metaft.errors import BackboneError, StoreError
from metaft.recipes import design
from metaft.traces import recorder
from metaft.traces.plan import plan_runs
from metaft.traces.recorder import Progress, RecordingSummary, record
from metaft.traces.store import TraceStore
from metaft.traces.trace import Trace, trace_id_of
from metaft.traces.worker import look_at_backbone, look_at_task

if TYPE_CHECKING:
    from tests.traces.conftest import TraceFactory

_RECIPES = 8
_LONG_LEASE = 3600.0
_SLOW = pytest.mark.timeout(600)  # Workers import torch: on a busy machine that takes minutes.
_RECORD_CODE = """
import sys
from metaft.recipes import design
from metaft.traces.plan import plan_runs
from metaft.traces.recorder import record
from metaft.traces.store import TraceStore
url, task, backbone, recipes = sys.argv[1:]
if __name__ == "__main__":
    runs = plan_runs([task], backbone, design(int(recipes), 40), sizes=[16], seeds=1)
    print(record(runs, TraceStore(url), workers=1, offline=True, lease_seconds=3))
"""


@pytest.fixture(scope="module")
def recorded(
    task_folder: str,
    backbone_folder: str,
    make_trace: TraceFactory,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[RecordingSummary, TraceStore, list[tuple[Trace, Progress]]]:
    """Record once for many tests, over a stale trace; return also what was reported.

    There are two recipes on a task of 24 training rows, at two sizes beyond that, and on one
    that is not there.
    """
    store = TraceStore(f"sqlite:///{tmp_path_factory.mktemp('recorded') / 'traces.db'}")
    facts = look_at_task(task_folder, True), look_at_backbone(backbone_folder, True)
    key = trace_id_of(facts[0].fingerprint, facts[1].fingerprint, design(1, 1)[0], 24, 0)
    store.add(make_trace(key, status="failed", reason="stale"))
    tasks = [task_folder, f"{task_folder}_missing"]
    reports: list[tuple[Trace, Progress]] = []
    summary = record(
        plan_runs(tasks, backbone_folder, design(2, 1), sizes=[100, 200], seeds=1),
        store,
        offline=True,
        fresh=True,
        on_trace=lambda trace, progress: reports.append((trace, progress)),
    )
    return summary, store, reports


@_SLOW
def test_every_run_is_recorded_once(recorded, task_folder: str) -> None:
    summary, store, _ = recorded
    assert (summary.recorded, summary.skipped, summary.left) == (2, 0, 0)
    assert summary.statuses == {"ok": 2}  # The stale trace is gone.
    assert summary.seconds_per_trace > 0
    assert {(trace.task, trace.train_rows) for trace in store.traces()} == {(task_folder, 24)}


def test_workers_compute_with_one_thread(recorded) -> None:
    assert {trace.environment.threads for trace in recorded[1].traces()} == {1}


def test_a_task_that_cannot_be_loaded_stands_among_the_problems(recorded, task_folder: str) -> None:
    summary, _, _ = recorded
    assert list(summary.problems) == [f"{task_folder}_missing"]
    assert "there is no file or folder" in summary.problems[f"{task_folder}_missing"]


def test_every_run_is_reported(recorded) -> None:
    _, store, reports = recorded
    assert {trace.trace_id for trace, _ in reports} == store.ids()
    assert reports[-1][1] == Progress(done=2, total=2, skipped=0, seconds_left=0.0)


def test_unknown_backbone_ends_the_recording(task_folder: str, store: TraceStore) -> None:
    runs = plan_runs([task_folder], "no/such", design(1, 1), sizes=[8], seeds=1)
    with pytest.raises(BackboneError, match="'no/such'"):
        record(runs, store, offline=True)


def test_read_only_store_is_refused_before_any_work(store: TraceStore) -> None:
    path = store.url.removeprefix("sqlite:///")
    with pytest.raises(StoreError, match="readonly"):
        record([], TraceStore(f"sqlite:///file:{path}?mode=ro&uri=true"))


def test_a_store_in_memory_is_refused(task_folder: str, backbone_folder: str) -> None:
    runs = plan_runs([task_folder], backbone_folder, design(1, 1), sizes=[8], seeds=1)
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(StoreError, match="in the memory of one process"):
            record(runs, TraceStore(url), offline=True)


@_SLOW
def test_killed_recording_keeps_what_was_finished(
    task_folder: str, backbone_folder: str, store: TraceStore
) -> None:
    with _recording(store.url, task_folder, backbone_folder) as killed:
        while len(store.ids()) < 2 and killed.poll() is None:
            time.sleep(0.02)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    kept = {trace.trace_id: trace for trace in store.traces()}
    assert 2 <= len(kept) < _RECIPES
    with _recording(store.url, task_folder, backbone_folder) as again:
        output, _ = again.communicate()
    assert f"recorded={_RECIPES - len(kept)}, skipped={len(kept)}" in output
    after = {trace.trace_id: trace for trace in store.traces()}
    assert len(after) == _RECIPES
    assert kept.items() <= after.items()
    database = sqlite3.connect(store.url.removeprefix("sqlite:///"))
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@_SLOW
def test_a_dead_worker_is_replaced_and_its_run_made_again_at_once(
    task_folder: str, backbone_folder: str, store: TraceStore
) -> None:
    """The lease would last for longer than the test may."""
    runs = plan_runs([task_folder], backbone_folder, design(2, 1), sizes=[16], seeds=1)
    killer = _Killer(store.url, deaths=1)
    summary = record(runs, store, offline=True, on_planned=killer.start, lease_seconds=_LONG_LEASE)
    assert summary.statuses == {"ok": 2}
    assert killer.deaths == 0


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers be threads of this process, which need not import torch."""

    @contextlib.contextmanager
    def open_pool(_: str, workers: int, __: str | None) -> Iterator[_Threads]:
        yield _Threads(workers)

    monkeypatch.setattr(recorder, "open_pool", open_pool)


@pytest.mark.usefixtures("threads")
def test_recorders_share_a_store_and_make_no_run_twice(
    task_folder: str, backbone_folder: str, any_store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    TraceStore(any_store_url).close()
    runs = plan_runs([task_folder], backbone_folder, design(6, 2), sizes=[12, 16], seeds=1)

    def record_all() -> RecordingSummary:
        store = TraceStore(any_store_url)
        try:
            return record(runs, store, workers=2, offline=True)
        finally:
            store.close()

    with ThreadPoolExecutor(3) as recorders:
        results = [recorders.submit(record_all) for _ in range(3)]
    assert [result.result().recorded + result.result().skipped for result in results] == [12] * 3
    store = TraceStore(any_store_url)
    assert len(store.ids()) == 12
    assert store.claims.owners(store.ids()) == {}
    assert "is not stored" not in caplog.text  # No run was made in vain.
    store.close()


@pytest.mark.usefixtures("threads")
def test_what_another_recorder_makes_is_waited_for_and_taken_over(
    task_folder: str, backbone_folder: str, store: TraceStore
) -> None:
    """The other is alive at first, and the time limit ends the waiting; then it dies."""
    facts = look_at_task(task_folder, True), look_at_backbone(backbone_folder, True)
    key = trace_id_of(facts[0].fingerprint, facts[1].fingerprint, design(1, 1)[0], 16, 0)
    store.claims.take(key, "other", _LONG_LEASE)
    runs = plan_runs([task_folder], backbone_folder, design(1, 1), sizes=[16], seeds=1)
    limited = record(runs, store, offline=True, time_limit_seconds=1)
    assert (limited.recorded, limited.left) == (0, 1)
    waiting: list[int] = []

    def wait(runs: int) -> None:
        waiting.append(runs)
        store.claims.expire("other")

    summary = record(runs, store, offline=True, on_wait=wait)
    assert waiting == [1]
    assert (summary.recorded, summary.left) == (1, 0)


class _Threads:
    """A pool of threads; a worker of it cannot be ended from outside."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._executor = ThreadPoolExecutor(workers)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self._executor.submit(function, *arguments)

    def is_death(self, error: Exception) -> bool:
        return False

    def stop(self) -> None:
        self._executor.shutdown()


class _Killer:
    """Kills the worker of this process whenever it has claimed a run, so many times."""

    def __init__(self, url: str, deaths: int) -> None:
        self.url = url
        self.deaths = deaths

    def start(self, _: Progress) -> None:
        threading.Thread(target=self._kill, daemon=True).start()

    def _kill(self) -> None:
        database = sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=60)
        owners = "SELECT owner FROM claims WHERE expires_at > 0"
        killed: set[str] = set()
        while self.deaths:
            for (owner,) in database.execute(owners).fetchall():
                if owner not in killed and self.deaths:
                    killed.add(owner)
                    self.deaths -= 1
                    for worker in _workers_of(os.getpid()):
                        os.kill(worker, signal.SIGKILL)
            time.sleep(0.01)


@contextlib.contextmanager
def _recording(url: str, task: str, backbone: str) -> Iterator[subprocess.Popen[str]]:
    """Record in a process group of its own, of which nothing is left afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-c", _RECORD_CODE, url, task, backbone, str(_RECIPES)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _workers_of(parent: int) -> Iterator[int]:
    """Find loky's workers among the processes of the machine."""
    for folder in Path("/proc").iterdir():
        try:
            arguments = (folder / "cmdline").read_text()
            status = (folder / "stat").read_text()
        except OSError:
            continue
        is_child = status.rpartition(")")[2].split()[1:2] == [str(parent)]
        if is_child and "LokyProcess" in arguments:
            yield int(folder.name)
