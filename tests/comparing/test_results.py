from __future__ import annotations

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
