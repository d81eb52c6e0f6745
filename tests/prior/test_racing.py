from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metaft.finetuning.lead import LEAD_POINTS
from metaft.prior.racing import (
    first_epoch_of,
    race,
    race_average,
    race_learned,
    race_portfolio,
)
from metaft.prior.table import TraceTable, tabulate


@pytest.fixture
def table(make_world) -> TraceTable:
    return tabulate(make_world(4, recipes=6, epochs=3, noise_points=0.0).traces)


def _full(table: TraceTable, row: int) -> list[int]:
    """Return the cells of three epochs that did not fail."""
    known = np.isfinite(table.run_seconds[row]) & (table.space.epochs == 3)
    return np.flatnonzero(known).tolist()


def _with_first_epoch(table: TraceTable, row: int, cell: int, points: float) -> TraceTable:
    validation = table.validation.copy()
    validation[row, first_epoch_of(cell, table.space)] = points
    return dataclasses.replace(table, validation=validation)


def test_first_epoch_is_of_the_same_recipe(table) -> None:
    for cell in _full(table, 0):
        first = table.space.cells[first_epoch_of(cell, table.space)]
        assert first == table.space.cells[cell].truncated(1)


def test_clear_leader_wins_and_the_others_cost_an_epoch(table) -> None:
    ranked = _full(table, 0)[:3]
    led = _with_first_epoch(table, 0, ranked[2], 99.0)
    chosen = race(led, 0, ranked)
    assert chosen.cells.tolist() == [ranked[2]]
    given_up = [first_epoch_of(cell, table.space) for cell in ranked[:2]]
    seconds = table.run_seconds[0, ranked[2]] + table.run_seconds[0, given_up].sum()
    assert chosen.run_seconds == pytest.approx(seconds)
    assert chosen.runs == pytest.approx(1 + 2 / 3)


def test_a_racer_that_failed_took_its_time(table) -> None:
    ranked = _full(table, 0)[:2]
    first = [first_epoch_of(cell, table.space) for cell in ranked]
    validation, seconds = table.validation.copy(), table.run_seconds.copy()
    validation[0, first[1]] = np.nan
    seconds[0, first[1]] = np.nan
    failed = dataclasses.replace(table, validation=validation, run_seconds=seconds)
    others = (table.space.epochs == 1) & np.isfinite(seconds[0])
    expected = table.run_seconds[0, ranked[0]] + seconds[0, others].mean()
    assert race(failed, 0, ranked).run_seconds == pytest.approx(expected)


def test_a_lead_within_the_noise_changes_nothing(table) -> None:
    ranked = _full(table, 0)[:2]
    expected = table.validation[0, first_epoch_of(ranked[0], table.space)]
    near = _with_first_epoch(table, 0, ranked[1], expected + LEAD_POINTS - 0.1)
    assert race(near, 0, ranked).cells.tolist() == [ranked[0]]
    beyond = _with_first_epoch(table, 0, ranked[1], expected + LEAD_POINTS + 0.1)
    assert race(beyond, 0, ranked).cells.tolist() == [ranked[1]]


def test_one_racer_is_no_race(table) -> None:
    ranked = _full(table, 0)
    alone = race(table, 0, ranked, racers=1)
    assert alone.cells.tolist() == [ranked[0]]
    assert alone.run_seconds == pytest.approx(table.run_seconds[0, ranked[0]])


@pytest.mark.parametrize("chooser", [race_average(), race_portfolio(2), race_learned()])
def test_racing_is_no_worse_than_not_racing(chooser, silent) -> None:
    """Where features tell nothing, a look at the task itself does."""
    alone = [race_average(1)(silent.table, left) for left in silent.left_out]
    raced = [chooser(silent.table, left) for left in silent.left_out]
    points = [
        np.mean([silent.table.test[left.row, chosen.cells[0]] for left, chosen in pairs])
        for pairs in (
            list(zip(silent.left_out, alone, strict=True)),
            list(zip(silent.left_out, raced, strict=True)),
        )
    ]
    assert points[1] > points[0] + 0.5
