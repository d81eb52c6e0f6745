from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from metaft.errors import RecipeError, RunFailedError
from metaft.recipes import Recipe
from metaft.searching.proposals import propose
from metaft.searching.search import SearchResult, search
from metaft.searching.space import Range, SearchSpace
from metaft.traces import bench
from metaft.traces.store import TraceStore

BASE = Recipe(
    learning_rate=1e-2, epochs=2, batch_size=8, precision="fp32", max_length=32, image_size=32
)
SPACE = SearchSpace({"learning_rate": Range(1e-4, 1e-1, is_log=True), "batch_size": (8, 16)})
HEADS = SearchSpace({"head_init": ("random", "linear_probe")})
LISTED = SearchSpace({"learning_rate": (1e-3, 1e-2), "batch_size": (8, 16)})


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    return TraceStore(f"sqlite:///{tmp_path}/traces.db")


@pytest.fixture
def run_search(tiny_text_backbone, tiny_task, store, monkeypatch):
    monkeypatch.setattr(bench, "release_memory", lambda: None)  # It takes longer than a run here.
    backbone, task = tiny_text_backbone(), tiny_task(rows=32)

    def run(sampler="random", trials=4, space=SPACE, base=BASE, **options) -> SearchResult:
        return search(
            task, backbone, store, sampler=sampler, space=space, trials=trials, base=base, **options
        )

    return run


def test_a_grid_tries_every_combination_once(run_search) -> None:
    result = run_search("grid", trials=9, space=LISTED)
    tried = {(trial.recipe.learning_rate, trial.recipe.batch_size) for trial in result.trials}
    assert len(result.trials) == len(tried) == 4
    assert not result.is_complete
    assert [t.recipe for t in result.trials] != list(LISTED.grid(BASE)), "in a random order"


def test_the_best_is_chosen_on_the_validation_rows(run_search, store) -> None:
    result = run_search("random", trials=4)
    assert result.is_complete
    assert result.best.validation == max(trial.validation for trial in result.trials)
    trace = store.traces([result.best.trace_id])[0]
    assert result.best.test == trace.test["accuracy"]
    assert result.best.recipe == trace.recipe


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe", "asha"])
def test_a_search_goes_on_where_it_was(run_search, monkeypatch, sampler) -> None:
    space = LISTED if sampler == "grid" else SPACE
    base = BASE
    if sampler == "asha":
        space = SearchSpace({**HEADS.fields, "batch_size": (4, 8, 16, 32)})
        base = dataclasses.replace(BASE, epochs=4, learning_rate=1e-6)
    trials = 4 if sampler == "grid" else 6
    first = run_search(sampler, trials=3, space=space, base=base)
    whole = run_search(sampler, trials=trials, space=space, base=base)
    assert all(trial.was_stored for trial in whole.trials[:3])
    assert not all(trial.was_stored for trial in whole.trials)
    assert [t.recipe for t in whole.trials[:3]] == [t.recipe for t in first.trials]
    again = run_search(sampler, trials=trials, space=space, base=base)
    assert all(trial.was_stored for trial in again.trials)
    assert [dataclasses.replace(t, was_stored=True) for t in whole.trials] == list(again.trials)


def test_asha_stops_runs_that_are_behind(run_search, store) -> None:
    base = dataclasses.replace(BASE, epochs=4, learning_rate=1e-6)
    result = run_search("asha", trials=8, space=HEADS, base=base)
    stopped = [trial for trial in result.trials if trial.is_stopped]
    assert stopped
    assert {trial.recipe.epochs for trial in stopped} <= {1, 3}
    for trial in stopped:
        (trace,) = store.traces([trial.trace_id])
        assert len(trace.curve) == trace.recipe.epochs == trial.recipe.epochs
    whole = [trial for trial in result.trials if not trial.is_stopped]
    assert {trial.recipe.epochs for trial in whole} == {4}


def test_asha_refuses_rates_that_depend_on_the_budget(run_search) -> None:
    with pytest.raises(RecipeError, match="schedule is 'linear'"):
        run_search("asha", base=dataclasses.replace(BASE, schedule="linear"))
    with pytest.raises(RecipeError, match="the space varies schedule"):
        run_search("asha", space=SearchSpace({"schedule": ("constant", "cosine")}))


@pytest.mark.parametrize("shares", [(0.0, 0.5), Range(0.0, 0.5)])
def test_asha_refuses_warm_ups_in_which_it_may_stop_a_run(run_search, shares) -> None:
    base = dataclasses.replace(BASE, epochs=3)
    space = SearchSpace({"warmup_fraction": shares})
    with pytest.raises(RecipeError, match=r"warmup_fraction 0\.5 .* at most 0\.333"):
        run_search("asha", space=space, base=base)


def test_a_stored_longer_run_answers_for_a_trial_that_is_stopped(run_search) -> None:
    """The same trials with and without stopping share their runs."""
    base = dataclasses.replace(BASE, epochs=4, learning_rate=1e-6)
    run_search("grid", trials=2, space=HEADS, base=base)
    result = run_search("asha", trials=6, space=HEADS, base=base)
    assert all(trial.was_stored for trial in result.trials)
    assert any(trial.is_stopped for trial in result.trials)


def test_a_warm_start_comes_first_and_is_learned_from(run_search) -> None:
    start = [Recipe(learning_rate=0.5, epochs=1, max_length=32), BASE]
    result = run_search("tpe", trials=3, start=start)
    assert [trial.recipe for trial in result.trials[:2]] == start
    proposals = propose("tpe", SPACE, BASE, start)
    for _ in start:
        proposals.next().learn(0.5)
    (brought, _) = proposals._study.trials
    assert brought.params == {"learning_rate": 0.1, "batch_size": 16}


def test_tpe_learns_where_the_best_is() -> None:
    proposals = propose("tpe", SPACE, BASE, seed=1)
    rates = []
    for _ in range(40):
        proposal = proposals.next()
        rates.append(proposal.recipe.learning_rate)
        proposal.learn(-abs(math.log10(proposal.recipe.learning_rate) + 3.0))
    distance = [abs(math.log10(rate) + 3.0) for rate in rates]
    assert sum(distance[-15:]) < 0.6 * sum(distance[:15])


def test_contradictions_are_no_trials() -> None:
    space = SearchSpace({"freezing": ("first", "last"), "frozen_fraction": (0.0, 0.5)})
    proposals = propose("random", space, BASE)
    drawn = {(p.recipe.freezing, p.recipe.frozen_fraction) for p in
             (proposals.next() for _ in range(30))}  # fmt: skip
    assert drawn == {("first", 0.0), ("first", 0.5), ("last", 0.5)}


def test_a_space_that_does_not_fit_the_task_is_refused_before_any_run(run_search, store) -> None:
    space = SearchSpace({"augmentation": ("none", "flip")})
    with pytest.raises(RecipeError, match="allowed there are synonyms"):
        run_search(space=space)
    assert store.ids() == set()


@pytest.mark.parametrize(
    ("space", "base"),
    [
        (SPACE, dataclasses.replace(BASE, precision="fp16")),
        (SearchSpace({"precision": ("fp32", "fp16")}), BASE),
    ],
)
def test_a_precision_that_the_device_lacks_is_refused_before_any_run(
    run_search, store, space: SearchSpace, base: Recipe
) -> None:
    with pytest.raises(RecipeError, match=r"fp16.*needs a GPU"):
        run_search(space=space, base=base, device="cpu")
    assert store.ids() == set()


def test_a_run_that_ran_out_of_patience_is_whole(run_search) -> None:
    base = dataclasses.replace(BASE, epochs=6, learning_rate=1e-9, early_stopping_patience=1)
    result = run_search("grid", trials=1, space=SearchSpace({"batch_size": (8,)}), base=base)
    assert result.best.best_epoch == 1
    assert result.best.recipe == base
    assert not result.best.is_stopped


def test_no_run_starts_after_the_time_limit(run_search, store, monkeypatch) -> None:
    ticks = iter(range(0, 1000, 10))  # One look at the clock before, and one before each run.
    monkeypatch.setattr(store.claims, "now", lambda: next(ticks))
    result = run_search(trials=9, time_limit_seconds=25)
    assert len(result.trials) == 2
    assert not result.is_complete


def test_a_search_without_any_score_says_so(run_search) -> None:
    with pytest.raises(RunFailedError, match="no trial gave a score"):
        run_search(time_limit_seconds=-1)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"warmup_steps": (None, 2, 9)}, "warmup_steps is 9, but the run has 8 steps"),
        ({"warmup_steps": (17,), "epochs": (1, 4)}, "warmup_steps is 17, but the run has 16 steps"),
    ],
)
def test_a_warmup_that_is_longer_than_every_run_is_refused(
    run_search, store, fields: dict, problem: str
) -> None:
    with pytest.raises(RecipeError, match=problem):
        run_search("grid", space=SearchSpace(fields))
    assert store.ids() == set()


def test_a_warmup_may_fit_the_longer_runs_of_a_space(run_search) -> None:
    space = SearchSpace({"warmup_steps": (9,), "epochs": (4,)})
    assert run_search("grid", trials=1, space=space).best.status == "ok"


def test_a_search_without_time_reads_what_is_stored_and_runs_nothing(run_search, store) -> None:
    before = run_search("tpe", trials=3)
    known = store.ids()
    again = run_search("tpe", trials=5, time_limit_seconds=0)
    assert [trial.trace_id for trial in again.trials] == [t.trace_id for t in before.trials]
    assert not again.is_complete
    assert store.ids() == known
