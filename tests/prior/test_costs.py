from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metaft.prior.costs import CostModel
from metaft.prior.described import describe_blocks
from metaft.prior.table import tabulate
from metaft.recipes import PLAIN, Recipe


@pytest.fixture(scope="module")
def fitted(make_world):
    world = make_world(6)
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    return table, rows, CostModel.fit(table, rows)


def test_times_are_found_again(fitted) -> None:
    table, rows, costs = fitted
    known = np.isfinite(table.train_seconds[0])
    relative = costs.training_seconds(rows[0])[known] / table.train_seconds[0][known]
    assert np.abs(relative - 1).max() < 0.1


def test_memory_is_found_again(fitted) -> None:
    table, rows, costs = fitted
    relative = costs.peak_memory_mib(rows[0]) / table.peak_memory_mib[0]
    assert np.abs(relative - 1).max() < 0.1


def test_twice_the_rows_take_twice_the_steps(fitted) -> None:
    _, rows, costs = fitted
    once = costs.training_seconds(rows[0])
    twice = costs.training_seconds(rows[0].with_rows(2 * rows[0].train_rows))
    np.testing.assert_allclose(twice, 2 * once)


def test_validation_and_the_frozen_pass_cost_time_too(fitted) -> None:
    _, rows, costs = fitted
    assert (costs.run_seconds(rows[0]) > costs.training_seconds(rows[0])).all()


def test_frozen_blocks_and_fewer_epochs_are_cheaper(fitted) -> None:
    table, rows, costs = fitted
    seconds = dict(zip(table.space.cells, costs.run_seconds(rows[0]), strict=True))
    assert seconds[Recipe(learning_rate=3e-4, frozen_fraction=0.5)] < seconds[PLAIN]
    assert seconds[PLAIN.extended(6).truncated(3)] > min(seconds.values())


def test_texts_longer_than_the_limit_cost_no_more(fitted) -> None:
    _, rows, costs = fitted
    tokens = {f"log2_tokens_q{q}": 9.0 for q in ("05", "25", "50", "75", "95")}
    longer = dict.fromkeys(tokens, 8.0)
    seconds = [
        costs.run_seconds(dataclasses.replace(rows[0], values={**rows[0].values, **lengths}))
        for lengths in (tokens, longer)
    ]
    np.testing.assert_allclose(seconds[0], seconds[1])


def _with_tail(row, log2_tokens_q95):
    return dataclasses.replace(row, values={**row.values, "log2_tokens_q95": log2_tokens_q95})


def test_the_longest_rows_take_the_memory_where_something_learns(fitted) -> None:
    table, rows, costs = fitted
    priced = dataclasses.replace(costs, memory_prices=np.ones(5))
    short, long = (priced.peak_memory_mib(_with_tail(rows[0], q95)) for q95 in (5.0, 5.5))
    learns = np.array([cell.frozen_fraction < 1 for cell in table.space.cells])
    assert (~learns).any()
    assert (long[learns] > short[learns]).all()
    np.testing.assert_allclose(long[~learns], short[~learns])


def test_unknown_features_still_give_a_time(fitted) -> None:
    _, rows, costs = fitted
    assert np.isfinite(costs.run_seconds(dataclasses.replace(rows[0], values={}))).all()
