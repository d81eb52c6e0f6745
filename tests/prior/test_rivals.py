from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metaft.prior.described import describe_blocks
from metaft.prior.leaving_out import LeftOut, leave_each_out
from metaft.prior.rivals import METHODS
from metaft.prior.table import TraceTable, tabulate
from metaft.recipes import PLAIN


@pytest.fixture
def left(telling):
    return telling.left_out[3]


@pytest.fixture(scope="module")
def with_plain(make_world) -> tuple[TraceTable, LeftOut]:
    """Return a world whose runs reach the three epochs of plain, and a task left out of it."""
    world = make_world(4, recipes=4, epochs=3)
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    return table, leave_each_out(table, rows, world.relatives)[0]


def test_plain_is_plain(with_plain) -> None:
    table, left = with_plain
    chosen = METHODS["plain"](table, left)
    assert chosen is not None
    assert [table.space.cells[cell] for cell in chosen.cells] == [PLAIN]


def test_plain_is_none_where_no_run_reached_its_epochs(telling, left) -> None:
    assert METHODS["plain"](telling.table, left) is None


def test_best_average_has_the_best_mean_of_the_others(telling, left) -> None:
    table = telling.table
    others = np.delete(np.arange(len(table.blocks)), left.row)
    points = table.test[others] - table.test[others].mean(
        1, where=np.isfinite(table.test[others]), keepdims=True
    )
    chosen = METHODS["best-average"](table, left).cells[0]
    assert np.nanargmax(points.mean(0)) == chosen


def test_best_learning_rate_changes_nothing_else(with_plain) -> None:
    """Of the design, plain and steady differ in their rate alone."""
    table, left = with_plain
    cell = METHODS["best-learning-rate"](table, left).cells[0]
    recipe = table.space.cells[cell]
    assert dataclasses.replace(recipe, learning_rate=PLAIN.learning_rate) == PLAIN


def test_nearest_neighbour_takes_its_best(telling, left) -> None:
    nearest = next(iter(left.outlook.distances))
    row = [block.task for block in telling.table.blocks].index(nearest)
    chosen = METHODS["1-nn"](telling.table, left).cells[0]
    assert telling.table.test[row, chosen] == np.nanmax(telling.table.test[row])


def test_learned_beats_best_average_where_features_tell(telling, silent) -> None:
    def gain(seen) -> np.ndarray:
        def points(name: str) -> np.ndarray:
            cells = [METHODS[name](seen.table, left).cells[0] for left in seen.left_out]
            return seen.table.test[np.arange(len(cells)), cells]

        return points("learned") - points("best-average")

    told, shuffled = gain(telling), gain(silent)
    assert told.mean() > 2 * told.std(ddof=1) / np.sqrt(len(told))
    assert abs(shuffled.mean()) < 0.5


def test_neighbours_are_tasks_with_alike_blocks(telling, left) -> None:
    """The nearest task is passed over where it was not recorded at this size."""
    averages, nearest = left.averages, next(iter(left.outlook.distances))
    blocks = tuple(
        dataclasses.replace(block, train_rows=64) if block.task == nearest else block
        for block in averages.blocks
    )
    moved = dataclasses.replace(left, averages=dataclasses.replace(averages, blocks=blocks))
    second = list(left.outlook.distances)[1]
    row = [block.task for block in telling.table.blocks].index(second)
    chosen = METHODS["1-nn"](telling.table, moved).cells[0]
    assert telling.table.test[row, chosen] == np.nanmax(telling.table.test[row])
