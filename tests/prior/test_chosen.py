from __future__ import annotations

import numpy as np

from metaft.prior.chosen import full_budgets, take_highest


def test_full_budgets_are_the_longest_recorded(telling) -> None:
    table, row = telling.table.take([0]), 0
    space = table.space
    table.test[row, space.epochs == 2] = np.where(
        space.families[space.epochs == 2] == 1, np.nan, table.test[row, space.epochs == 2]
    )
    longest = {}
    for cell in np.flatnonzero(np.isfinite(table.test[row])):
        family = space.families[cell]
        longest[family] = max(longest.get(family, 0), space.epochs[cell])
    found = full_budgets(table, row)
    assert {space.families[cell]: space.epochs[cell] for cell in found} == longest
    assert longest[1] == 1
    assert found.tolist() == sorted(set(found.tolist()))


def test_nothing_recorded_has_no_budget(telling) -> None:
    table = telling.table.take([0])
    table.test[:] = np.nan
    assert full_budgets(table, 0).tolist() == []


def test_only_recorded_cells_are_taken(telling) -> None:
    table, left = telling.table, telling.left_out[0]
    recorded = np.isfinite(table.test[left.row])
    value = np.where(recorded, 1.0, 9.0)
    value[np.flatnonzero(recorded)[3]] = 2.0
    assert take_highest(table, left, value).cells.tolist() == [np.flatnonzero(recorded)[3]]
    assert take_highest(table, left, np.full(len(value), np.nan)) is None
