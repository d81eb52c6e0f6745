from __future__ import annotations

import dataclasses
import math

import pytest

from metaft.studying.results import gather_factor

FREEZING = {"none": {}, "half": {"frozen_fraction": 0.5}}
SCHEDULE = {"constant": {}, "linear": {"schedule": "linear"}}
BOTH = {"freezing": FREEZING, "schedule": SCHEDULE}
SCORES = {
    "one": {
        ("none", "constant"): 0.6,
        ("none", "linear"): 0.7,
        ("half", "constant"): 0.8,
        ("half", "linear"): 0.7,
    }
}


def test_a_level_is_averaged_over_the_other_factors_and_seeds(made_up) -> None:
    plan, runs = made_up(BOTH, SCORES, seeds=2)
    found = gather_factor(plan, "freezing", runs)
    (task,) = found.tasks
    assert task.of("none").score == pytest.approx(0.65)
    assert task.of("half").score == pytest.approx(0.75)
    assert task.of("half").difference_points == pytest.approx(10.0)
    assert len(task.of("half").runs) == found.blocks == 4
    assert found.open_blocks == 0


def test_blocks_with_missing_runs_do_not_count(made_up) -> None:
    plan, runs = made_up(BOTH, SCORES)
    runs = [run for run in runs if run.levels != ("half", "linear")]
    found = gather_factor(plan, "freezing", runs)
    assert found.tasks[0].of("none").score == pytest.approx(0.6), "the same blocks for all levels"
    assert (found.blocks, found.open_blocks) == (1, 1)


def test_a_level_that_does_not_fit_a_task_is_missing_there_alone(made_up) -> None:
    scores = {"one": {("none",): 0.6, ("half",): 0.7}, "two": {("none",): 0.6}}
    found = gather_factor(*_of(made_up({"freezing": FREEZING}, scores)))
    assert [task.task for task in found.tasks] == ["one"], "alone there is nothing to compare"


def _of(made) -> tuple:
    plan, runs = made
    return plan, "freezing", runs


def test_one_at_a_time_compares_with_the_reference_run(made_up) -> None:
    scores = {"one": {k: v for k, v in SCORES["one"].items() if k != ("half", "linear")}}
    plan, runs = made_up(BOTH, scores, one_at_a_time=True)
    freezing = gather_factor(plan, "freezing", runs)
    assert freezing.tasks[0].of("half").difference_points == pytest.approx(20.0)
    assert freezing.tasks[0].of("none").score == pytest.approx(0.6)
    schedule = gather_factor(plan, "schedule", runs)
    assert schedule.tasks[0].of("linear").difference_points == pytest.approx(10.0)
    assert (freezing.blocks, schedule.blocks) == (1, 1)


def test_a_failed_run_counts_as_a_guess_and_in_no_time(made_up) -> None:
    scores = {"one": {("none",): 0.6, ("half",): "diverged"}}
    found = gather_factor(*_of(made_up({"freezing": FREEZING}, scores)))
    half = found.tasks[0].of("half")
    assert (half.score, half.failures) == (0.5, 1)
    assert math.isnan(half.seconds)


def test_epochs_go_up_to_95_percent_of_the_best_of_the_block(made_up) -> None:
    scores = {"one": {("none",): 0.6, ("half",): 0.9}}  # Half of it after the first epoch.
    found = gather_factor(*_of(made_up({"freezing": FREEZING}, scores)))
    half, none = found.convergence["one"]["half"], found.convergence["one"]["none"]
    assert (half.epochs, half.never) == (2, 0)
    assert (none.epochs, none.never) == (3, 1), "one more than its epochs"


def test_a_level_that_one_backbone_does_not_take_is_missing_on_the_task(made_up) -> None:
    scores = {"one": {("none",): 0.6, ("half",): 0.7, ("all",): 0.7}}
    scores["two"] = {("none",): 0.6, ("half",): 0.8}  # type: ignore[assignment]
    plan, runs = made_up({"freezing": {**FREEZING, "all": {"frozen_fraction": 1.0}}}, scores)
    units = tuple(dataclasses.replace(unit, task="same") for unit in plan.units)
    found = gather_factor(dataclasses.replace(plan, units=units), "freezing", runs)
    (task,) = found.tasks
    assert not task.has("all")
    assert len(task.of("half").runs) == len(task.of("none").runs) == 2
    assert task.of("half").difference_points == pytest.approx(15.0)
