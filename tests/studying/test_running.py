from __future__ import annotations

import math
from pathlib import Path

import pytest

from metaft.comparing.scoring import seconds_of
from metaft.prior.screening import find_pairs, screen
from metaft.studying.forecast import forecast
from metaft.studying.plan import plan_study
from metaft.studying.results import gather_factor, gather_runs
from metaft.studying.running import run_study
from metaft.traces import bench
from metaft.traces.store import TraceStore


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    return TraceStore(f"sqlite:///{tmp_path}/traces.db")


@pytest.mark.usefixtures("workers_in_process")
def test_a_study_runs_once_and_then_reads_the_store(card_of, store) -> None:
    card = card_of(
        factors={"freezing": {"none": {}, "half": {"frozen_fraction": 0.5}}}, convergence=True
    )
    plan = plan_study(card, "small", store)
    before = forecast(plan, store, workers=1)
    assert (before.runs, before.stored, before.unknown) == (4, 0, 4)
    assert before.seconds == 0
    done = run_study(plan, store)
    assert (done.left, done.searches) == (0, {})
    assert done.summary is not None
    assert done.summary.recorded == 4
    after = forecast(plan, store, workers=1)
    assert (after.stored, after.left) == (4, 0)
    runs = gather_runs(plan, done.searches, lambda keys: store.traces(set(keys)))
    found = gather_factor(plan, "freezing", runs)
    assert len(found.tasks) == 2
    assert [len(task.methods) for task in found.curves] == [2, 2]
    again = run_study(plan, store)
    assert again.summary is not None
    assert (again.summary.recorded, again.summary.skipped) == (0, 4)

    more = plan_study(card_of(factors=_MORE), "small", store)
    expected = forecast(more, store, workers=2)
    assert (expected.stored, expected.from_traces, expected.unknown) == (4, 2, 0)
    seconds = [trace.costs.wall_seconds for trace in store.traces()]
    assert 0 < expected.seconds < 2 * sum(seconds)


_MORE = {
    "freezing": {
        "none": {},
        "half": {"frozen_fraction": 0.5},
        "slower": {"learning_rate": 1e-5},
    }
}


@pytest.mark.usefixtures("workers_in_process")
def test_a_time_limit_leaves_runs_for_the_next_call(card_of, store) -> None:
    methods = ["plain", "search-tpe-2"]
    card = card_of(methods=methods, search_space={"learning_rate": [1e-3, 1e-2]})
    plan = plan_study(card, "small", store)
    assert run_study(plan, store, time_limit_seconds=0.0).left == 4
    assert store.ids() == set()
    said: list[tuple[str, int, int]] = []
    done = run_study(plan, store, on_search=lambda *told: said.append(told))
    assert (done.left, len(done.searches)) == (0, 2)
    assert [told[1:] for told in said] == [(0, 2), (1, 2), (2, 2)]
    known = store.ids()
    plan = plan_study(card, "small", store)
    assert forecast(plan, store, workers=1).stored == 6, "2 runs, and 2 searches of 2 trials"
    again = run_study(plan, store)
    assert store.ids() == known
    runs = gather_runs(plan, again.searches, lambda keys: store.traces(set(keys)))
    searched = [run for run in runs if run.levels == ("search-tpe-2",)]
    assert [run.trials for run in searched] == [2, 2]
    best = store.traces([searched[0].result.trace_id])[0]
    assert searched[0].result.score == best.test["accuracy"]
    assert searched[0].result.seconds > best.costs.wall_seconds / 2
    assert searched[0].validation == (best.validation["accuracy"],)


@pytest.fixture
def break_above(monkeypatch):
    """Return what lets every run fail whose learning rate is above a limit."""
    begin_run = bench.begin_run

    def set_limit(limit: float) -> None:
        def begin(rows, backbone, recipe, **settings):
            if recipe.learning_rate > limit:
                raise RuntimeError("made up")
            return begin_run(rows, backbone, recipe, **settings)

        monkeypatch.setattr(bench, "begin_run", begin)

    return set_limit


@pytest.mark.usefixtures("workers_in_process")
def test_a_search_in_which_every_trial_failed_counts_as_a_guess(
    card_of, files, store, break_above
) -> None:
    break_above(1e-4)
    card = card_of(
        tasks=files[:1],
        methods=["plain", "search-tpe-2"],
        search_space={"learning_rate": [1e-3, 1e-2]},
    )
    done = run_study(plan_study(card, "small", store), store)
    assert (done.left, len(done.searches)) == (0, 1)
    plan = plan_study(card, "small", store)
    assert forecast(plan, store, workers=1).left == 0
    runs = gather_runs(plan, done.searches, lambda keys: store.traces(set(keys)))
    (searched,) = [run for run in runs if run.levels == ("search-tpe-2",)]
    assert (searched.trials, searched.result.status) == (2, "failed")
    assert searched.result.score == plan.units[0].guess_score
    (task,) = gather_factor(plan, "method", runs).tasks
    assert task.of("search-tpe-2").failures == 1
    assert math.isnan(task.of("search-tpe-2").seconds)


@pytest.mark.usefixtures("workers_in_process")
def test_a_grid_with_fewer_recipes_than_trials_is_complete_and_pays_for_those_that_failed(
    card_of, files, store, break_above
) -> None:
    break_above(1e-3)
    card = card_of(
        tasks=files[:1],
        methods=["plain", "search-grid-3"],
        search_space={"learning_rate": [1e-3, 1e-2]},
    )
    plan = plan_study(card, "small", store)
    assert run_study(plan, store, time_limit_seconds=0.0).left == 2
    done = run_study(plan, store)
    assert (done.left, len(done.searches)) == (0, 1)
    runs = gather_runs(
        plan,
        done.searches,
        lambda keys: sorted(store.traces(set(keys)), key=lambda trace: trace.status == "ok"),
    )
    (searched,) = [run for run in runs if run.levels == ("search-grid-3",)]
    assert searched.trials == 2
    (broken,) = store.traces(status="failed")
    (best,) = store.traces([searched.result.trace_id])
    kept = seconds_of(best, plan.units[0].rows)
    assert broken.costs.wall_seconds > 0
    assert searched.result.seconds == pytest.approx(kept + broken.costs.wall_seconds)
    assert searched.result.peak_memory_mib == best.costs.peak_memory_mib


@pytest.mark.usefixtures("workers_in_process")
def test_one_factor_at_a_time_gives_what_a_prior_screens(card_of, store) -> None:
    factors = {
        "schedule": {"constant": {}, "cosine": {"schedule": "cosine"}},
        "label smoothing": {"0": {}, "0.1": {"label_smoothing": 0.1}},
    }
    card = card_of(factors=factors, one_at_a_time=True)
    run_study(plan_study(card, "small", store), store)
    found = screen(find_pairs(store.traces(), "text"))
    assert {level.name for level in found.levels} == {"schedule=cosine", "label_smoothing=0.1"}
    assert {level.tasks for level in found.levels} == {2}
    assert found.traces == 6


@pytest.mark.usefixtures("workers_in_process")
def test_methods_that_choose_the_same_run_share_it(card_of, store) -> None:
    card = card_of(methods=["plain", "same"], recipes={"same": {"learning_rate": 5e-5}})
    plan = plan_study(card, "small", store)
    done = run_study(plan, store)
    assert len(store.ids()) == 2
    runs = gather_runs(plan, done.searches, lambda keys: store.traces(set(keys)))
    assert len(runs) == 4
    assert gather_factor(plan, "method", runs).tasks[0].of("same").difference_points == 0
