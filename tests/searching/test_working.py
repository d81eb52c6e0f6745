from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
from torch import nn

from metaft.backbones.load import load_backbone
from metaft.errors import MissingExtraError, RunFailedError, TaskError
from metaft.recipes import Recipe
from metaft.searching import working
from metaft.searching.search import SearchResult, search
from metaft.searching.space import Range, SearchSpace
from metaft.searching.walk import Ground, SearchPlan, Walk, plan_search
from metaft.tasks.load import load_task
from metaft.traces import bench
from metaft.traces.claims import MAX_ATTEMPTS, Claim
from metaft.traces.store import TraceStore
from metaft.traces.trace import Trace

TASK = "uci_sentences_yelp"
SPACE = SearchSpace({"learning_rate": Range(1e-4, 1e-2, is_log=True)})
BASE = Recipe(epochs=1, batch_size=16, precision="fp32", max_length=16)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory, tiny_text_backbone):
    folder = tmp_path_factory.mktemp("backbone")
    tiny = tiny_text_backbone()
    tiny.save(folder, nn.Linear(tiny.width, 2), ("no", "yes"))
    return load_backbone(str(folder), offline=True)


@pytest.fixture(scope="module")
def task():
    return load_task(TASK, offline=True)


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    return TraceStore(f"sqlite:///{tmp_path}/traces.db")


@pytest.fixture
def run_search(backbone, task, store, monkeypatch):
    monkeypatch.setattr(working, "_SECONDS_BETWEEN_LOOKS", 0.01)

    def run(sampler="tpe", trials=4, space=SPACE, base=BASE, **options) -> SearchResult:
        return search(
            task,
            backbone,
            store,
            sampler=sampler,
            space=space,
            trials=trials,
            base=base,
            train_rows=16,
            **options,
        )

    return run


def test_workers_make_each_trial_once_and_the_search_goes_on(run_search, store) -> None:
    seen = []
    first = run_search("tpe", trials=3, workers=2, on_trial=seen.append)
    assert first.is_complete
    assert [trial.was_stored for trial in first.trials] == [False] * 3
    assert [trial.trace_id for trial in seen] == [trial.trace_id for trial in first.trials]
    assert len(store.ids()) == 3
    assert store.claims.owners(store.ids()) == {}
    again = run_search("tpe", trials=4, workers=2, time_limit_seconds=0)
    assert [trial.trace_id for trial in again.trials] == [t.trace_id for t in first.trials]
    assert not again.is_complete


def test_a_run_that_another_makes_is_waited_for(run_search, store, monkeypatch) -> None:
    """The other one ends while this one sleeps."""
    whole = run_search(trials=2)
    (trace,) = store.traces([whole.trials[1].trace_id])
    store.remove([trace.trace_id])
    claim = store.claims.take(trace.trace_id, "another")
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        store.add(trace, claim)

    monkeypatch.setattr(working.time, "sleep", sleep)
    again = run_search(trials=2)
    assert len(waits) == 1
    assert [trial.was_stored for trial in again.trials] == [True, True]


def test_a_run_that_workers_died_of_is_set_aside(run_search, store) -> None:
    whole = run_search(trials=2)
    lost = whole.trials[1].trace_id
    store.remove([lost])
    for attempt in range(MAX_ATTEMPTS):
        assert store.claims.take(lost, f"worker {attempt}")
        assert store.claims.expire(f"worker {attempt}") == [lost]
    again = run_search(trials=2)
    assert [trial.status for trial in again.trials] == ["ok", "failed"]
    assert "its worker process died" in store.traces([lost])[0].reason
    assert again.best == again.trials[0]


def test_values_that_do_not_fit_together_are_a_failed_trial(run_search, store) -> None:
    space = SearchSpace({"freezing": ("alternate",), "frozen_fraction": (0.9, 0.5)})
    base = BASE.with_settings({"frozen_fraction": 0.5})
    result = run_search("grid", trials=2, space=space, base=base)
    assert sorted(trial.status for trial in result.trials) == ["failed", "ok"]
    assert result.best.status == "ok"


def test_what_a_trial_needs_and_is_not_here_is_a_problem_and_not_stored(
    run_search, store, monkeypatch
) -> None:
    def lack(*_: object, **__: object) -> None:
        raise MissingExtraError("the optimizer needs a package", "Install it")

    monkeypatch.setattr(bench, "begin_run", lack)
    with pytest.raises(RunFailedError, match="needs a package"):
        run_search(trials=2)
    assert store.ids() == set()


def test_what_breaks_off_a_run_gives_its_claim_back(run_search, store, monkeypatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(working.Bench, "record", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_search(trials=2)
    assert store.ids() == set()
    assert run_search(trials=2).is_complete, "without waiting for the lease to end"


def test_a_claim_is_kept_until_its_trial_is_stored(run_search, store, monkeypatch) -> None:
    (trial,) = run_search(trials=1).trials
    (trace,) = store.traces([trial.trace_id])
    store.remove([trial.trace_id])
    real_add, taken = TraceStore.add, []

    def record(*_: object) -> Trace:
        time.sleep(0.3)  # A beat renews the claim, for a short time from now on.
        return trace

    def add(self: TraceStore, trace: Trace, claim: Claim) -> bool:
        if not taken:
            time.sleep(0.9)
            taken.append(store.claims.take(trial.trace_id, "other"))
            store.claims.give_back_all(["other"])
        return real_add(self, trace, claim)

    monkeypatch.setattr(working, "LEASE_SECONDS", 0.3)
    monkeypatch.setattr(working.Bench, "record", record)
    monkeypatch.setattr(TraceStore, "add", add)
    run_search(trials=1)
    assert taken == [None]


def test_what_cannot_be_loaded_is_the_problem_and_leaves_no_claim(run_search, store) -> None:
    walk_plans = []
    run_search(trials=1)
    (stored,) = store.ids()
    with pytest.raises(TaskError, match="nothing_such"):
        working._load(_plan_on("nothing_such"), True)

    def refuse(plan: SearchPlan) -> working.Material:
        walk_plans.append(plan)
        return working._load(plan, True)

    walk = Walk(_plan_on("nothing_such"), store)
    ended = working.make_trials([walk], store, refuse, deadline=math.inf)
    assert list(ended.problems) == ["mail"]
    assert len(walk_plans) == 1
    assert store.ids() == {stored}
    key = walk.plan.ground.key_of(next(walk.to_make()).recipe)
    assert store.claims.take(key, "another")


def _plan_on(dataset: str) -> SearchPlan:
    ground = Ground("mail", "classification", "accuracy", "t", "b", "f", 16, dataset)
    return plan_search(ground, sampler="tpe", space=SPACE, trials=2, base=BASE)
