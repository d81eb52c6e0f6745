from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from metaft.comparing.judging import check_predictions, judge, rank_methods
from metaft.comparing.results import gather_results
from metaft.prior.suggestion import Prediction
from metaft.significance import WinTieLoss, compare_paired, holm

if TYPE_CHECKING:
    from tests.comparing.conftest import Comparison

PLAIN = [0.70, 0.81, 0.64, 0.90, 0.75, 0.58, 0.83]
LEARNED = [0.74, 0.84, 0.69, 0.91, 0.75, 0.61, 0.89]
STEADY = [0.71, 0.78, 0.66, 0.87, 0.77, 0.60, 0.85]


def _tasks(**by_method: list[float]) -> dict:
    rows = zip(*by_method.values(), strict=True)
    return {
        f"task{at}": {method: [score] for method, score in zip(by_method, row, strict=True)}
        for at, row in enumerate(rows)
    }


def test_unit_is_the_dataset_not_the_run(comparison: Comparison) -> None:
    scores = {
        name: {"plain": [score, score + 0.1], "learned": [score + 0.05, score + 0.11]}
        for name, score in zip("abcdefg", PLAIN, strict=True)
    }
    plan, traces = comparison(scores)
    (found,) = judge(gather_results(plan, traces, "plain")[0], plan.methods, "plain")
    assert found.points.pairs == 7
    assert found.points.mean_difference == pytest.approx(3.0)
    assert found.points.win_tie_loss == WinTieLoss(7, 0, 0)


def test_judgement_is_in_points_and_corrected_over_methods(comparison: Comparison) -> None:
    plan, traces = comparison(_tasks(plain=PLAIN, learned=LEARNED, steady=STEADY))
    learned, steady = judge(gather_results(plan, traces, "plain")[0], plan.methods, "plain")
    assert (learned.method, steady.method) == ("learned", "steady")
    expected = compare_paired(100 * np.array(LEARNED), 100 * np.array(PLAIN))
    assert learned.points.t_test.p_value == pytest.approx(expected.t_test.p_value)
    assert learned.points.win_tie_loss == WinTieLoss(6, 1, 0)
    raw = [learned.points.wilcoxon.p_value, steady.points.wilcoxon.p_value]
    assert [learned.wilcoxon_holm, steady.wilcoxon_holm] == holm(raw)
    assert learned.non_inferiority.is_shown
    assert not steady.non_inferiority.is_shown
    assert learned.pairs_needed == 6  # d_z is 1.4; with fewer Wilcoxon's test cannot show it


def test_time_is_compared_by_ratio(comparison: Comparison) -> None:
    plan, traces = comparison(
        _tasks(plain=PLAIN, learned=LEARNED), seconds={"plain": 20.0, "learned": 5.0}
    )
    (found,) = judge(gather_results(plan, traces, "plain")[0], plan.methods, "plain")
    assert found.time.ratio == pytest.approx(0.25)
    assert found.time.datasets == 7
    assert found.time.wilcoxon.p_value == pytest.approx(2 / 2**7)


def test_time_of_failed_runs_is_left_out(comparison: Comparison) -> None:
    scores = {
        "a": {"plain": [0.7, 0.7], "learned": [0.8, "diverged"]},
        "b": {"plain": ["failed", 0.7], "learned": [0.8, "diverged"]},
    }
    plan, traces = comparison(scores, seconds={"plain": 20.0, "learned": 5.0})
    (found,) = judge(gather_results(plan, traces, "plain")[0], plan.methods, "plain")
    assert found.time.datasets == 1
    assert found.points.pairs == 2


@pytest.mark.filterwarnings("error")
def test_nothing_to_judge_has_an_answer(comparison: Comparison) -> None:
    (found,) = judge([], ("plain", "learned"), "plain")
    assert found.points.pairs == 0
    assert (found.t_test_holm, found.wilcoxon_holm) == (1.0, 1.0)
    assert math.isnan(found.time.ratio)
    assert found.pairs_needed is None
    assert rank_methods([], ("plain", "learned", "steady")) is not None
    assert check_predictions([], ("plain", "learned")) == []


def test_ranks_are_for_three_methods_or_more(comparison: Comparison) -> None:
    plan, traces = comparison(_tasks(plain=PLAIN, learned=LEARNED, steady=STEADY))
    tasks, _ = gather_results(plan, traces, "plain")
    ranks = rank_methods(tasks, plan.methods)
    assert ranks is not None
    assert ranks.mean_ranks == pytest.approx((18.5 / 7, 8.5 / 7, 15 / 7))
    assert rank_methods(tasks, ("plain", "learned")) is None


def test_predictions_are_checked_run_by_run(comparison: Comparison) -> None:
    scores = {
        "a": {"plain": [0.7, 0.7], "learned": [0.8, 0.9]},
        "b": {"plain": [0.7, 0.7], "learned": [0.76, "diverged"]},  # a guess scores .5
    }
    expected = Prediction("accuracy", 0.8, 0.75, 0.85, 9.0, 512.0, 0.01)
    plan, traces = comparison(scores, predicted={"learned": expected})
    (check,) = check_predictions(gather_results(plan, traces, "plain")[0], plan.methods)
    assert (check.method, check.runs, check.inside) == ("learned", 4, 0.5)
    assert check.mean_error_points == pytest.approx((0 + 10 + 4 + 30) / 4)
    assert check.mean_bias_points == pytest.approx((0 + 10 - 4 - 30) / 4)
