"""The store's benchmark: its traces are like real ones, and it runs to its table."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import benchmark_store
import pytest

from metaft.traces.environment import describe_environment
from metaft.traces.trace import Trace


def test_made_up_traces_are_of_real_size_and_of_many_runs() -> None:
    made = list(itertools.islice(benchmark_store._made_up_traces(describe_environment()), 200))
    assert len({trace.trace_id for trace in made}) == 200
    assert {trace.task for trace in made} == {"task_00000", "task_00001", "task_00002"}
    sizes = [len(trace.to_json()) for trace in made]
    assert 3_900 < min(sizes) <= max(sizes) < 4_500
    assert Trace.from_json(made[0].to_json()) == made[0]
    first_task = {(t.backbone, t.train_rows, t.recipe) for t in made[: benchmark_store.PER_TASK]}
    assert len(first_task) == benchmark_store.PER_TASK


def test_the_store_is_measured_at_every_size(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_store, "_BATCH", 20)
    options = ["--rows", "30,100", "--most-in-memory", "50", "--folder", str(tmp_path)]
    options += ["--copied", "250"]
    benchmark_store.main([*options, "--format", "json"])
    steps = json.loads(capsys.readouterr().out)["steps"]
    measured = {(step["what"], step["rows"]) for step in steps}
    assert {("add in bulk", 30), ("summary", 100), ("export", 100)} <= measured
    assert ("the prior's table", 30) in measured
    assert ("the prior's table", 100) not in measured
    assert {("ids of all", 250), ("add in bulk", 250 + benchmark_store._BATCH)} <= measured
    assert list(tmp_path.iterdir()) == []


def test_sizes_must_grow() -> None:
    with pytest.raises(SystemExit):
        benchmark_store.main(["--rows", "100,30"])
