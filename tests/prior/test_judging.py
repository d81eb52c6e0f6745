from __future__ import annotations

import numpy as np
import pytest

from metaft.prior.chosen import Chosen, full_budgets
from metaft.prior.judging import FLOOR_POINTS, Judged, judge_methods, judge_one
from metaft.prior.rivals import take_plain
from metaft.prior.table import tabulate


@pytest.fixture(scope="module")
def table(make_world):
    return tabulate(make_world(5, recipes=8, epochs=3).traces)


def test_the_oracle_is_picked_on_the_other_half(table) -> None:
    cell, row = 5, 0
    expected = []
    for picking, scoring in ((table.half_a, table.half_b), (table.half_b, table.half_a)):
        best = int(np.argmax(picking[row]))
        expected.append(scoring[row, best] - scoring[row, cell])
    figures = judge_one(table, row, Chosen(np.array([cell]), 1.0))
    assert figures["regret"] == pytest.approx(np.mean(expected))


def test_the_ratio_is_floored(table) -> None:
    """Where all recipes are alike, a regret of half a point is a sixth of three points."""
    flat = table.take([0])
    flat.half_a[:], flat.half_b[:] = 80.0, 80.0
    flat.half_a[0, 0] = flat.half_b[0, 0] = 80.5
    figures = judge_one(flat, 0, Chosen(np.array([1]), 1.0))
    assert figures["regret"] == pytest.approx(0.5)
    assert figures["normalised_regret"] == pytest.approx(0.5 / 3)


def test_the_ratio_is_against_the_median_recipe(table) -> None:
    cell = 5
    ratios = []
    for picking, scoring in ((table.half_a, table.half_b), (table.half_b, table.half_a)):
        best = scoring[1, int(np.argmax(picking[1]))]
        median = np.median(scoring[1, full_budgets(table, 1)])
        assert best - median > FLOOR_POINTS
        ratios.append((best - scoring[1, cell]) / (best - median))
    figures = judge_one(table, 1, Chosen(np.array([cell]), 1.0))
    assert figures["normalised_regret"] == pytest.approx(np.mean(ratios))


def test_draws_are_averaged(table) -> None:
    one, two = (judge_one(table, 0, Chosen(np.array([cell]), 1.0)) for cell in (3, 4))
    both = judge_one(table, 0, Chosen(np.array([3, 4]), 1.0, runs=2))
    for figure in ("points", "regret", "normalised_regret"):
        assert both[figure] == pytest.approx((one[figure] + two[figure]) / 2)
    assert both["runs"] == 2


def test_regret_differs_as_points_do(table) -> None:
    """So it needs no test of its own."""
    one, two = (judge_one(table, 0, Chosen(np.array([cell]), 1.0)) for cell in (3, 4))
    assert one["regret"] - two["regret"] == pytest.approx(two["points"] - one["points"])


def test_a_method_that_cannot_choose_everywhere_is_left_out(telling) -> None:
    last = telling.left_out[-1]
    judged = judge_methods(
        telling.table,
        telling.left_out,
        {
            "some": lambda table, left: None if left is last else Chosen(np.array([0]), 1.0),
            "all": lambda table, left: Chosen(np.array([0]), 1.0),
        },
    )
    assert list(judged.figures) == ["all"]


def test_blocks_of_a_task_count_once() -> None:
    judged = Judged(("a", "a", "b"), {"m": {"points": np.array([1.0, 3.0, 10.0])}})
    assert judged.per_task("m", "points").tolist() == [2.0, 10.0]
    assert judged.means() == {"m": {"points": 6.0}}
    assert judged.take([0, 2]).means() == {"m": {"points": 5.5}}


def test_nobody_to_judge(table) -> None:
    assert judge_methods(table, [], {"plain": take_plain}).means() == {}
