from __future__ import annotations

import math

import numpy as np
import pytest

from metaft.prior import validate as validation
from metaft.prior.described import describe_blocks
from metaft.prior.rivals import Chosen, full_budgets
from metaft.prior.table import tabulate
from metaft.prior.validate import count_validation_fits, shuffle_features, validate


@pytest.fixture(scope="module")
def judged(make_world):
    world = make_world(5, recipes=8, epochs=3)
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    fits = []
    figures, left_out = validate(table, rows, world.relatives, on_fit=lambda: fits.append(1))
    assert len(fits) == count_validation_fits(table.tasks, world.relatives)
    return table, figures, left_out


def test_every_rival_is_judged(judged) -> None:
    _, figures, left_out = judged
    assert figures["tasks"] == figures["blocks"] == len(left_out) == 5
    assert {"learned", "plain", "best-average", "1-nn", "random-4"} <= set(figures["methods"])
    assert set(figures["comparisons"]) == {
        "learned - plain",
        "learned - best-average",
        "learned - best-average-of-all",
    }
    assert figures["methods"]["plain"]["relative_seconds"] == pytest.approx(1.0)
    assert len(figures["control"]["learned_gain_points"]) == validation.CONTROLS


def test_the_oracle_is_picked_on_the_other_half(judged) -> None:
    table, _, _ = judged
    cell, row = 5, 0
    expected = []
    for picking, scoring in ((table.half_a, table.half_b), (table.half_b, table.half_a)):
        best = int(np.argmax(picking[row]))
        expected.append(scoring[row, best] - scoring[row, cell])
    figures = validation._judge_one(table, row, Chosen(np.array([cell]), 1.0))
    assert figures["regret"] == pytest.approx(np.mean(expected))


def test_the_ratio_is_floored(judged) -> None:
    """Where all recipes are alike, a regret of half a point is a sixth of three points."""
    table, _, _ = judged
    flat = table.take([0])
    flat.half_a[:], flat.half_b[:] = 80.0, 80.0
    flat.half_a[0, 0] = flat.half_b[0, 0] = 80.5
    figures = validation._judge_one(flat, 0, Chosen(np.array([1]), 1.0))
    assert figures["regret"] == pytest.approx(0.5)
    assert figures["normalised_regret"] == pytest.approx(0.5 / 3)


def test_the_ratio_is_against_the_median_recipe(judged) -> None:
    table, _, _ = judged
    cell = 5
    ratios = []
    for picking, scoring in ((table.half_a, table.half_b), (table.half_b, table.half_a)):
        best = scoring[1, int(np.argmax(picking[1]))]
        median = np.median(scoring[1, full_budgets(table, 1)])
        assert best - median > validation.FLOOR_POINTS
        ratios.append((best - scoring[1, cell]) / (best - median))
    figures = validation._judge_one(table, 1, Chosen(np.array([cell]), 1.0))
    assert figures["normalised_regret"] == pytest.approx(np.mean(ratios))


def test_shuffling_keeps_rows_and_backbone(make_world) -> None:
    world = make_world(6, recipes=4, sizes=(128, 512))
    shuffled = shuffle_features(world.described, seed=1)
    assert [row.block for row in shuffled] == [row.block for row in world.described]
    for row in shuffled:
        assert row.values["log2_train_rows"] == math.log2(row.train_rows)
    moved = [a.values is not b.values for a, b in zip(shuffled, world.described, strict=True)]
    assert any(moved)


def test_a_single_task_cannot_be_judged(make_world) -> None:
    world = make_world(1, recipes=4)
    table = tabulate(world.traces)
    figures, left_out = validate(table, world.described, world.relatives)
    assert left_out == []
    assert figures["methods"] == {}
    assert figures["comparisons"] == {}


def test_costs_of_left_out_tasks_are_predicted(judged) -> None:
    _, figures, _ = judged
    assert figures["training_seconds"]["median_relative_error"] < 0.1
    assert figures["peak_memory_mib"]["median_relative_error"] < 0.1


def test_intervals_cover_left_out_tasks(telling) -> None:
    figures = validation._check_intervals(telling.table, telling.left_out)
    assert 0.8 <= figures["coverage"] <= 1.0
    assert figures["mean_absolute_error"] < figures["mean_half_width"]
