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
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from metaft.errors import BackboneError, StoreError
from metaft.recipes import design
from metaft.traces.plan import plan_runs
from metaft.traces.recorder import Progress, RecordingSummary, record
from metaft.traces.store import TraceStore
from metaft.traces.trace import Trace, trace_id_of
from metaft.traces.worker import look_at_backbone, look_at_task

if TYPE_CHECKING:
    from tests.traces.conftest import TraceFactory

_RECIPES = 8
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
    print(record(runs, TraceStore(url), workers=1, offline=True))
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
def test_a_run_that_kills_its_worker_is_set_aside(
    task_folder: str, backbone_folder: str, store: TraceStore
) -> None:
    runs = plan_runs([task_folder], backbone_folder, design(2, 1), sizes=[16], seeds=1)
    killer = _Killer(deaths=3)
    summary = record(runs, store, offline=True, on_planned=killer.start)
    assert summary.statuses == {"failed": 1, "ok": 1}
    failed = store.traces(status="failed")[0]
    assert "its worker process died 3 times" in failed.reason
    assert failed.curve == ()


class _Killer:
    """Kills the workers of this process as they come, so many times."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths

    def start(self, _: Progress) -> None:
        threading.Thread(target=self._kill, daemon=True).start()

    def _kill(self) -> None:
        killed: set[int] = set()
        while len(killed) < self.deaths:
            for worker in set(_workers_of(os.getpid())) - killed:
                os.kill(worker, signal.SIGKILL)
                killed.add(worker)
            time.sleep(0.02)


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
