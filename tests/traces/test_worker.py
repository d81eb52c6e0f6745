"""What workers do, done in this process."""

from __future__ import annotations

import dataclasses
import math

import pytest

from metaft.recipes import Recipe, design
from metaft.traces.plan import BackboneFacts, RunGroup, TaskFacts, group_runs, key_runs, plan_runs
from metaft.traces.store import TraceStore
from metaft.traces.trace import Trace
from metaft.traces.worker import Job, look_at_backbone, look_at_task, record_group, set_aside


@pytest.fixture(scope="module")
def facts(task_folder: str, backbone_folder: str) -> tuple[TaskFacts, BackboneFacts]:
    """Return what a worker says of the tiny task and the tiny backbone."""
    return look_at_task(task_folder, True), look_at_backbone(backbone_folder, True)


@pytest.fixture(scope="module")
def recorded(
    task_folder: str,
    backbone_folder: str,
    facts: tuple[TaskFacts, BackboneFacts],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[RunGroup, list[Trace]]:
    """Record plain, half frozen, head only with a probe, and a precision no CPU has."""
    recipes = [
        Recipe(epochs=2),
        Recipe(epochs=2, frozen_fraction=0.5),
        Recipe(epochs=2, frozen_fraction=1.0, head_init="linear_probe"),
        Recipe(epochs=2, precision="fp16"),
    ]
    runs = plan_runs([task_folder], backbone_folder, recipes, sizes=[16], seeds=1)
    keyed = key_runs(runs, {task_folder: facts[0]}, {backbone_folder: facts[1]})
    group = group_runs(keyed, workers=1)[0]
    url = f"sqlite:///{tmp_path_factory.mktemp('recorded') / 'traces.db'}"
    assert record_group(group, Job(url, offline=True, deadline=math.inf)) == ""
    store = TraceStore(url)
    return group, [trace for key in group.runs for trace in store.traces({key})]


def _job(store: TraceStore, deadline: float = math.inf) -> Job:
    return Job(store.url, offline=True, deadline=deadline)


def test_the_plan_foresees_the_keys(recorded: tuple[RunGroup, list[Trace]]) -> None:
    group, traces = recorded
    assert [trace.trace_id for trace in traces] == list(group.runs)
    assert [trace.recipe for trace in traces] == [run.recipe for run in group.runs.values()]


def test_traces_hold_the_whole_curve_with_its_test_scores(
    recorded: tuple[RunGroup, list[Trace]],
) -> None:
    for trace in recorded[1][:3]:
        assert trace.status == "ok"
        assert trace.train_rows == 16
        assert [record.epoch for record in trace.curve] == [1, 2]
        assert all(len(record.test_halves) == 2 for record in trace.curve)
        best = trace.curve[trace.best_epoch - 1]
        assert (trace.validation, trace.test) == (best.validation, best.test)


def test_every_run_carries_what_its_prefix_would_take_alone(
    recorded: tuple[RunGroup, list[Trace]],
) -> None:
    plain, half_frozen, head_only = (trace.prefix_seconds or 0.0 for trace in recorded[1][:3])
    assert 0 < plain < min(half_frozen, head_only)


def test_without_a_cache_every_run_computes_its_frozen_blocks_itself(
    recorded: tuple[RunGroup, list[Trace]], store: TraceStore
) -> None:
    runs = dict(list(recorded[0].runs.items())[:2])
    group = dataclasses.replace(recorded[0], runs=runs)
    job = dataclasses.replace(_job(store), cache_limit_bytes=0)
    assert record_group(group, job) == ""
    assert len({trace.prefix_seconds for trace in store.traces()}) == 1  # The encoding alone.


def test_a_run_that_fails_is_recorded_with_its_reason(
    recorded: tuple[RunGroup, list[Trace]],
) -> None:
    failed = recorded[1][3]
    assert (failed.status, failed.curve, failed.best_epoch) == ("failed", (), 0)
    assert failed.reason.startswith("RecipeError: precision is 'fp16', which needs a GPU")


def test_stored_runs_are_not_made_again(
    recorded: tuple[RunGroup, list[Trace]], store: TraceStore
) -> None:
    group, traces = recorded
    store.add_all(traces)
    assert record_group(group, _job(store)) == ""
    # NaN (the memory of a failed run) is not equal to itself, but its repr is.
    assert sorted(map(repr, store.traces())) == sorted(map(repr, traces))


def test_no_run_starts_after_the_deadline(
    recorded: tuple[RunGroup, list[Trace]], store: TraceStore
) -> None:
    assert record_group(recorded[0], _job(store, deadline=0.0)) == ""
    assert store.ids() == set()


def test_a_task_that_has_vanished_is_a_problem(backbone_folder: str, store: TraceStore) -> None:
    runs = plan_runs(["/no/such/task"], backbone_folder, design(1, 1), sizes=[16], seeds=1)
    group = RunGroup("/no/such/task", backbone_folder, 16, 0, {"key": runs[0]})
    assert "there is no file or folder '/no/such/task'" in record_group(group, _job(store))


def test_a_run_is_set_aside_as_failed(
    recorded: tuple[RunGroup, list[Trace]], store: TraceStore
) -> None:
    group, _ = recorded
    set_aside(group, _job(store), "its worker died")
    assert store.ids() == set(group.runs)
    assert {(trace.status, trace.reason) for trace in store.traces()} == {
        ("failed", "its worker died")
    }


def test_looks_answer_with_facts(facts: tuple[TaskFacts, BackboneFacts]) -> None:
    task, backbone = facts
    assert (task.train_rows, task.modality, task.problem) == (24, "text", "")
    assert (backbone.modality, backbone.problem) == ("text", "")
    assert task.fingerprint
    assert backbone.fingerprint


def test_looks_answer_with_problems() -> None:
    assert "there is no dataset 'nothing'" in look_at_task("nothing", True).problem
    facts = look_at_backbone("no/such", True)
    assert "'no/such'" in facts.problem
    assert facts.cure
