from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import pytest

from metaft.comparing.results import gather_results

if TYPE_CHECKING:
    from tests.comparing.conftest import Comparison


def test_scores_are_averaged_over_seeds(comparison: Comparison) -> None:
    plan, traces = comparison({"mail": {"plain": [0.7, 0.8], "steady": [0.8, 0.92]}})
    (task,), left_out = gather_results(plan, traces, "plain")
    assert left_out == {}
    assert task.of("plain").score == pytest.approx(0.75)
    assert task.of("steady").score == pytest.approx(0.86)
    assert task.of("steady").difference_points == pytest.approx(11.0)
    assert task.of("plain").difference_points == 0.0
    assert task.of("plain").spread == pytest.approx(math.sqrt(2 * 0.05**2))
    assert [run.seed for run in task.of("plain").runs] == [0, 1]


def test_failed_run_counts_as_a_guess_and_in_no_time(comparison: Comparison) -> None:
    plan, traces = comparison({"mail": {"plain": [0.7, 0.7], "steady": [0.9, "diverged"]}})
    (task,), _ = gather_results(plan, traces, "plain")
    steady = task.of("steady")
    assert steady.score == pytest.approx(0.7)  # (.9 + a guess of .5) / 2
    assert steady.failures == 1
    assert steady.seconds == pytest.approx(8.8)  # of the other run
    assert math.isnan(steady.runs[1].seconds)


def test_trial_steps_are_charged(comparison: Comparison) -> None:
    plan, traces = comparison({"mail": {"plain": [0.7], "probed": [0.9]}})
    (planned,) = plan.tasks
    choice = dataclasses.replace(planned.choices["probed"], seconds_before=3.0)
    planned = dataclasses.replace(planned, choices={**planned.choices, "probed": choice})
    (task,), _ = gather_results(dataclasses.replace(plan, tasks=(planned,)), traces, "plain")
    assert task.of("probed").seconds == pytest.approx(task.of("plain").seconds + 3.0)


def test_no_run_that_ended_well_has_no_seconds(comparison: Comparison) -> None:
    plan, traces = comparison({"mail": {"plain": [0.7], "steady": ["failed"]}})
    (task,), _ = gather_results(plan, traces, "plain")
    assert math.isnan(task.of("steady").seconds)
    assert math.isnan(task.of("steady").spread)


def test_seed_counts_where_all_methods_have_it(comparison: Comparison) -> None:
    scores = {
        "mail": {"plain": [0.7, 0.9], "steady": [0.8, 0.8]},
        "news": {"plain": [0.7, 0.7], "steady": [0.8, 0.8]},
    }
    missing = [("mail", "steady", 1), ("news", "plain", 0), ("news", "steady", 1)]
    plan, traces = comparison(scores, missing=missing)
    (mail,), left_out = gather_results(plan, traces, "plain")
    assert mail.seeds == (0,)
    assert mail.of("plain").score == 0.7
    assert list(left_out) == ["news"]


def test_task_that_one_method_knows_is_seen(comparison: Comparison) -> None:
    scores = {name: {"plain": [0.7], "learned": [0.8]} for name in ("mail", "news")}
    plan, traces = comparison(scores, seen=["news"])
    tasks, _ = gather_results(plan, traces, "plain")
    assert [task.is_seen for task in tasks] == [False, True]


def test_best_is_picked_on_one_half_and_scored_on_the_other(comparison: Comparison) -> None:
    plan, traces = comparison({"mail": {"plain": [0.7], "steady": [0.8]}})
    halves = {"mail/plain/0": (0.60, 0.80), "mail/steady/0": (0.90, 0.70)}
    for key, scores in halves.items():
        first, last = traces[key].curve
        last = dataclasses.replace(last, test_halves=scores)
        traces[key] = dataclasses.replace(traces[key], curve=(first, last))
    (task,), _ = gather_results(plan, traces, "plain")
    # steady wins the first half and has .70 on the second, plain the other way round.
    assert task.of("plain").regret_points == pytest.approx((70 - 80 + 60 - 60) / 2)
    assert task.of("steady").regret_points == pytest.approx((70 - 70 + 60 - 90) / 2)


def test_failed_run_has_the_regret_of_a_guess(comparison: Comparison) -> None:
    plan, traces = comparison({"mail": {"plain": [0.7], "steady": ["diverged"]}})
    (task,), _ = gather_results(plan, traces, "plain")
    assert task.of("plain").regret_points == 0.0
    assert task.of("steady").regret_points == pytest.approx(20.0)
