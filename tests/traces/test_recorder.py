"""The recorder, with real worker processes on a tiny task and a tiny backbone."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaft.errors import BackboneError, StoreError, UserError
from metaft.recipes import Recipe, design
from metaft.traces.plan import plan_runs
from metaft.traces.recorder import Progress, RecordingSummary, record
from metaft.traces.store import TraceStore
from metaft.traces.trace import PlannedRun, Trace

_RECORD_CODE = """
import sys
from metaft.recipes import design
from metaft.traces.plan import plan_runs
from metaft.traces.recorder import record
from metaft.traces.store import TraceStore
url, task, backbone = sys.argv[1:]
if __name__ == "__main__":
    runs = plan_runs([task], backbone, design(12, 40), sizes=[16], seeds=1)
    print(record(runs, TraceStore(url), workers=1, offline=True))
"""


@pytest.fixture(scope="module")
def planned(task_folder: str, backbone_folder: str) -> list[PlannedRun]:
    """Return four recipes on a task of 24 training rows, at two sizes beyond that."""
    recipes = [*design(3, 2), Recipe(learning_rate=1e-3, frozen_fraction=0.5, epochs=2)]
    missing = task_folder + "_missing"
    return plan_runs([task_folder, missing], backbone_folder, recipes, sizes=[100, 200], seeds=1)


@pytest.fixture(scope="module")
def recorded(
    planned: list[PlannedRun], tmp_path_factory: pytest.TempPathFactory
) -> tuple[RecordingSummary, TraceStore, list[tuple[Trace, Progress]]]:
    """Record once for many tests; return the summary, the store, and what was reported."""
    store = TraceStore(f"sqlite:///{tmp_path_factory.mktemp('recorded') / 'traces.db'}")
    reports: list[tuple[Trace, Progress]] = []
    summary = record(
        planned,
        store,
        offline=True,
        on_trace=lambda trace, progress: reports.append((trace, progress)),
    )
    return summary, store, reports


def test_every_run_is_recorded_once(recorded, task_folder: str) -> None:
    summary, store, _ = recorded
    assert (summary.recorded, summary.skipped, summary.left) == (4, 0, 0)
    assert summary.statuses == {"ok": 4}
    assert summary.seconds_per_trace > 0
    assert {trace.train_rows for trace in store.traces()} == {24}  # all that the task has
    assert {trace.task for trace in store.traces()} == {task_folder}


def test_a_task_that_cannot_be_loaded_stands_among_the_problems(recorded, task_folder: str) -> None:
    summary, _, _ = recorded
    assert list(summary.problems) == [f"{task_folder}_missing"]
    assert "there is no file or folder" in summary.problems[f"{task_folder}_missing"]


def test_every_run_is_reported(recorded) -> None:
    _, store, reports = recorded
    assert {trace.trace_id for trace, _ in reports} == store.ids()
    assert reports[-1][1] == Progress(done=4, total=4, skipped=0, seconds_left=0.0)


def test_traces_hold_the_whole_curve_with_its_test_scores(recorded) -> None:
    _, store, _ = recorded
    for trace in store.traces():
        assert [record.epoch for record in trace.curve] == [1, 2]
        assert all(record.test and len(record.test_halves) == 2 for record in trace.curve)
        assert trace.validation == trace.curve[trace.best_epoch - 1].validation
        assert trace.environment.threads == 1
        assert trace.prefix_seconds is not None
        assert trace.prefix_seconds > 0


def test_fresh_forgets_and_the_time_limit_starts_nothing(
    recorded, planned: list[PlannedRun], store: TraceStore
) -> None:
    store.add_all(recorded[1].traces())
    summary = record(planned, store, offline=True, fresh=True, time_limit_seconds=0)
    assert (summary.recorded, summary.skipped, summary.left) == (0, 0, 4)
    assert store.ids() == set()


def test_unknown_backbone_ends_the_recording(task_folder: str, store: TraceStore) -> None:
    runs = plan_runs([task_folder], "no/such", [Recipe(epochs=1)], sizes=[8], seeds=1)
    with pytest.raises(BackboneError, match="'no/such'"):
        record(runs, store, offline=True)


def test_read_only_store_is_refused_before_any_work(store: TraceStore) -> None:
    path = store.url.removeprefix("sqlite:///")
    with pytest.raises(StoreError, match="readonly"):
        record([], TraceStore(f"sqlite:///file:{path}?mode=ro&uri=true"))


def test_no_workers_are_refused(store: TraceStore) -> None:
    with pytest.raises(UserError, match="workers is 0; allowed is 1 or more"):
        record([], store, workers=0)


def test_killed_recording_keeps_what_was_finished(
    task_folder: str, backbone_folder: str, store: TraceStore
) -> None:
    recording = _start_recording(store.url, task_folder, backbone_folder)
    while len(store.ids()) < 2 and recording.poll() is None:
        time.sleep(0.02)
    os.killpg(recording.pid, signal.SIGKILL)
    recording.wait()
    kept = {trace.trace_id: trace for trace in store.traces()}
    assert 2 <= len(kept) < 12
    again = _start_recording(store.url, task_folder, backbone_folder)
    output, _ = again.communicate(timeout=100)
    assert f"recorded={12 - len(kept)}, skipped={len(kept)}" in output
    after = {trace.trace_id: trace for trace in store.traces()}
    assert len(after) == 12
    assert kept.items() <= after.items()
    database = sqlite3.connect(store.url.removeprefix("sqlite:///"))
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


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


def _start_recording(url: str, task: str, backbone: str) -> subprocess.Popen[str]:
    """Record twelve recipes in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", _RECORD_CODE, url, task, backbone],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


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
