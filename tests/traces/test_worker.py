"""What workers do, done in this process."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from typing import Any, Protocol

import pytest

from metaft.finetuning.loop import begin_run
from metaft.recipes import Recipe, design
from metaft.traces import bench, worker
from metaft.traces.claims import Claim, new_owner
from metaft.traces.plan import BackboneFacts, RunGroup, TaskFacts, group_runs, key_runs, plan_runs
from metaft.traces.store import TraceStore
from metaft.traces.trace import Trace
from metaft.traces.worker import Job, look_at_backbone, look_at_task, record_runs

_SHORT_LEASE = 0.3
_BREAKS = 0.5  # The weight decay of a recipe whose run breaks.


class JobFactory(Protocol):
    """Makes a job that writes to a store."""

    def __call__(self, store: TraceStore, **changes: Any) -> Job: ...


@pytest.fixture(scope="module")
def facts(task_folder: str, backbone_folder: str) -> tuple[TaskFacts, BackboneFacts]:
    """Return what a worker says of the tiny task and the tiny backbone."""
    return look_at_task(task_folder, True), look_at_backbone(backbone_folder, True)


@pytest.fixture(scope="module")
def job(
    task_folder: str, backbone_folder: str, facts: tuple[TaskFacts, BackboneFacts]
) -> JobFactory:
    """Return a factory of jobs on the tiny task and backbone."""

    def build(store: TraceStore, **changes: Any) -> Job:
        planned = {"tasks": {task_folder: facts[0]}, "backbones": {backbone_folder: facts[1]}}
        return Job(store.url, **{"offline": True, "deadline": math.inf, **planned, **changes})

    return build


@pytest.fixture(scope="module")
def recorded(
    task_folder: str,
    backbone_folder: str,
    facts: tuple[TaskFacts, BackboneFacts],
    job: JobFactory,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[RunGroup, list[Trace]]:
    """Record plain, half frozen, head only with a probe, and a run that breaks."""
    recipes = [
        Recipe(epochs=2),
        Recipe(epochs=2, frozen_fraction=0.5),
        Recipe(epochs=2, frozen_fraction=1.0, head_init="linear_probe"),
        Recipe(epochs=2, weight_decay=_BREAKS),
    ]
    runs = plan_runs([task_folder], backbone_folder, recipes, sizes=[16], seeds=1)
    keyed = key_runs(runs, {task_folder: facts[0]}, {backbone_folder: facts[1]})
    group = group_runs(keyed)[0]
    store = TraceStore(f"sqlite:///{tmp_path_factory.mktemp('recorded') / 'traces.db'}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "begin_run", _break)
        assert record_runs([group], job(store), new_owner()) == {}
    return group, [trace for key in group.runs for trace in store.traces({key})]


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
    recorded: tuple[RunGroup, list[Trace]], store: TraceStore, job: JobFactory
) -> None:
    runs = dict(list(recorded[0].runs.items())[:2])
    group = dataclasses.replace(recorded[0], runs=runs)
    assert record_runs([group], job(store, cache_limit_bytes=0), "me") == {}
    assert len({trace.prefix_seconds for trace in store.traces()}) == 1  # The encoding alone.


def test_a_run_that_fails_is_recorded_with_its_reason(
    recorded: tuple[RunGroup, list[Trace]],
) -> None:
    failed = recorded[1][3]
    assert (failed.status, failed.curve, failed.best_epoch) == ("failed", (), 0)
    assert failed.reason == "RuntimeError: made up"


def test_stored_runs_are_not_made_again(
    recorded: tuple[RunGroup, list[Trace]], store: TraceStore, job: JobFactory
) -> None:
    group, traces = recorded
    store.add_all(traces)
    assert record_runs([group], job(store), new_owner()) == {}
    # NaN (the memory of a failed run) is not equal to itself, but its repr is.
    assert sorted(map(repr, store.traces())) == sorted(map(repr, traces))


def test_no_run_starts_after_the_deadline(
    recorded: tuple[RunGroup, list[Trace]], store: TraceStore, job: JobFactory
) -> None:
    assert record_runs([recorded[0]], job(store, deadline=store.claims.now()), "me") == {}
    assert store.ids() == set()
    assert store.claims.owners(recorded[0].runs) == {}


def test_the_deadline_is_on_the_clock_of_the_store(
    recorded: tuple[RunGroup, list[Trace]],
    store: TraceStore,
    job: JobFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1e12)  # This machine is in the future.
    record_runs([recorded[0]], job(store, deadline=store.claims.now() + 600), "me")
    assert store.ids() == set(recorded[0].runs)


def test_a_task_that_has_vanished_is_a_problem_and_the_others_go_on(
    recorded: tuple[RunGroup, list[Trace]], backbone_folder: str, store: TraceStore, job: JobFactory
) -> None:
    runs = plan_runs(["/no/such/task"], backbone_folder, design(1, 1), sizes=[16], seeds=1)
    gone = RunGroup("/no/such/task", backbone_folder, 16, 0, {"key": runs[0]})
    problems = record_runs([gone, recorded[0]], job(store), "me")
    assert list(problems) == ["/no/such/task"]
    assert "there is no file or folder '/no/such/task'" in problems["/no/such/task"]
    assert store.ids() == set(recorded[0].runs)
    assert store.claims.take("key", "next") == Claim("key", "next", 1)  # It was given back.


def test_a_task_that_has_changed_is_a_problem(
    recorded: tuple[RunGroup, list[Trace]],
    facts: tuple[TaskFacts, BackboneFacts],
    store: TraceStore,
    job: JobFactory,
) -> None:
    group, _ = recorded
    stale = dataclasses.replace(facts[0], fingerprint="another")
    problems = record_runs([group], job(store, tasks={group.task: stale}), "me")
    assert "the recording was planned with another" in problems[group.task]
    assert store.ids() == set()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"head": "crf"}, "head is 'crf', but .* it has no tagged words"),
        ({"precision": "fp16"}, "precision is 'fp16', which needs a GPU"),
    ],
)
def test_a_recipe_that_cannot_be_run_is_the_problem_of_its_task_and_not_stored(
    fields: dict[str, str],
    problem: str,
    recorded: tuple[RunGroup, list[Trace]],
    facts: tuple[TaskFacts, BackboneFacts],
    store: TraceStore,
    job: JobFactory,
) -> None:
    group, _ = recorded
    recipe = Recipe(epochs=1).with_settings(fields)
    runs = plan_runs([group.task], group.backbone, [recipe], sizes=[16], seeds=1)
    keyed = key_runs(runs, {group.task: facts[0]}, {group.backbone: facts[1]})
    (key,) = keyed
    problems = record_runs(group_runs(keyed), job(store), "me")
    assert re.search(problem, problems[group.task])
    assert store.ids() == set()
    assert store.claims.take(key, "next") == Claim(key, "next", 1)  # It was given back.


@pytest.mark.parametrize("error", [MemoryError(), OSError("disk gone")])
def test_whatever_goes_wrong_with_a_task_is_its_own_problem(
    error: Exception,
    recorded: tuple[RunGroup, list[Trace]],
    store: TraceStore,
    job: JobFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "load_task", _raiser(error))
    problems = record_runs([recorded[0]], job(store), "me")
    assert problems[recorded[0].task].startswith(f"it cannot be loaded: {type(error).__name__}")


def test_a_run_without_memory_is_recorded_and_the_others_go_on(
    recorded: tuple[RunGroup, list[Trace]],
    store: TraceStore,
    job: JobFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = bench.begin_run

    def begin_run(rows: Any, backbone: Any, recipe: Recipe, **options: Any) -> Any:
        if recipe.frozen_fraction == 0.5:
            bytearray(1 << 62)  # As an allocation that the machine cannot give.
        return real(rows, backbone, recipe, **options)

    monkeypatch.setattr(bench, "begin_run", begin_run)
    record_runs([recorded[0]], job(store), "me")
    assert [trace.status for trace in store.traces(status="out_of_memory")] == ["out_of_memory"]
    assert store.ids() == set(recorded[0].runs)


def test_a_run_that_three_workers_died_of_is_set_aside(
    recorded: tuple[RunGroup, list[Trace]], store: TraceStore, job: JobFactory
) -> None:
    group, _ = recorded
    key = next(iter(group.runs))
    for owner in ("first", "second", "third"):
        store.claims.take(key, owner)
        store.claims.expire(owner)
    record_runs([group], job(store), "me")
    trace = store.traces({key})[0]
    assert (trace.status, trace.curve) == ("failed", ())
    assert trace.reason.startswith("its worker process died or fell silent 3 times")
    assert len(store.ids()) == len(group.runs)


def _alone(group: RunGroup, trace: Trace) -> RunGroup:
    """Return a group of one run."""
    return dataclasses.replace(group, runs={trace.trace_id: group.runs[trace.trace_id]})


def test_a_worker_that_wakes_up_late_stores_nothing(
    recorded: tuple[RunGroup, list[Trace]],
    store: TraceStore,
    job: JobFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While it makes a run, its claim goes to another, who stores another result."""
    group, traces = recorded
    first = traces[0]
    alone = _alone(group, first)
    others = dataclasses.replace(first, reason="of the other")

    def record(*_: Any) -> Trace:
        store.claims.expire("late")
        claim = store.claims.take(first.trace_id, "other")
        assert claim
        assert claim.attempt == 2
        assert store.add(others, claim)
        return first

    monkeypatch.setattr(bench.Bench, "record", record)
    assert record_runs([alone], job(store), "late") == {}
    assert [trace.reason for trace in store.traces()] == ["of the other"]


def test_claims_are_kept_while_a_run_lasts(
    recorded: tuple[RunGroup, list[Trace]],
    store: TraceStore,
    job: JobFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group, traces = recorded
    first = traces[0]
    alone = _alone(group, first)
    taken: list[Claim | None] = []

    def record(*_: Any) -> Trace:
        time.sleep(3 * _SHORT_LEASE)
        taken.append(store.claims.take(first.trace_id, "other"))
        return first

    monkeypatch.setattr(bench.Bench, "record", record)
    record_runs([alone], job(store, lease_seconds=_SHORT_LEASE), "me")
    assert taken == [None]
    assert store.ids() == set(alone.runs)


def test_a_claim_is_kept_until_its_run_is_stored(
    recorded: tuple[RunGroup, list[Trace]],
    store: TraceStore,
    job: JobFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store that others keep busy makes a worker wait for longer than its lease lasts."""
    group, traces = recorded
    first = traces[0]
    alone = _alone(group, first)
    real_add = TraceStore.add
    taken: list[Claim | None] = []

    def add(self: TraceStore, trace: Trace, claim: Claim) -> bool:
        if not taken:
            time.sleep(3 * _SHORT_LEASE)
            taken.append(store.claims.take(first.trace_id, "other"))
            store.claims.give_back_all(["other"])
        return real_add(self, trace, claim)

    monkeypatch.setattr(bench.Bench, "record", lambda *_: first)
    monkeypatch.setattr(TraceStore, "add", add)
    record_runs([alone], job(store, lease_seconds=_SHORT_LEASE), "me")
    assert taken == [None]
    assert store.ids() == set(alone.runs)


def test_groups_in_which_nobody_works_come_first(
    recorded: tuple[RunGroup, list[Trace]],
    store: TraceStore,
    job: JobFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then a worker helps where others work, and waits for what it cannot have.

    What a worker died of comes last in its group.
    """
    keys = list(recorded[0].runs)
    run = recorded[0].runs[keys[0]]
    others = dataclasses.replace(recorded[0], runs={"a1": run, "a2": run})
    nobodys = dataclasses.replace(recorded[0], runs={"b1": run, "b2": run})
    taken = store.claims.take("a1", "other")
    store.claims.take("b1", "dead")
    store.claims.expire("dead")
    order: list[str] = []
    trace = recorded[1][0]

    def keep(_: TraceStore, __: Trace, claim: Claim) -> bool:
        order.append(claim.trace_id)
        return real_add(store, dataclasses.replace(trace, trace_id=claim.trace_id), claim)

    def wait(_: float) -> None:
        order.append("waiting")
        store.claims.give_back(taken)

    real_add = TraceStore.add
    monkeypatch.setattr(TraceStore, "add", keep)
    monkeypatch.setattr(bench.Bench, "record", lambda *_: trace)
    monkeypatch.setattr(worker.time, "sleep", wait)
    record_runs([others, nobodys], job(store), "me")
    assert order == ["b2", "b1", "a2", "waiting", "a1"]


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


def _break(rows: Any, backbone: Any, recipe: Recipe, **options: Any) -> Any:
    if recipe.weight_decay == _BREAKS:
        raise RuntimeError("made up")
    return begin_run(rows, backbone, recipe, **options)


def _raiser(error: Exception) -> Any:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail
