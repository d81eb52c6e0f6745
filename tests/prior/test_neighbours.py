from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metaft.prior.averages import kept_effects
from metaft.prior.described import Described, describe_blocks
from metaft.prior.neighbours import NEIGHBOURS, Neighbours
from metaft.prior.table import TraceTable, tabulate


@pytest.fixture(scope="module")
def seen(make_world) -> tuple[TraceTable, list[Described]]:
    world = make_world(NEIGHBOURS + 3, recipes=6, epochs=2)
    table = tabulate(world.traces)
    return table, describe_blocks(table.blocks, world.described)


def _at(row: Described, value: float, **changes: object) -> Described:
    """Put a description somewhere on the axis of one feature."""
    values = {**dict.fromkeys(row.values, 0.0), "word_length": value}
    return dataclasses.replace(row, values=values, **changes)


def test_the_nearest_blocks_are_averaged(seen) -> None:
    table, rows = seen
    placed = [_at(row, float(at)) for at, row in enumerate(rows)]
    expected = kept_effects(table)[3:].mean(0)
    found = Neighbours.fit(table, placed).predict(_at(rows[0], 100.0))
    np.testing.assert_allclose(found, expected)


def test_another_backbone_counts_only_where_the_asked_one_is_new(seen) -> None:
    table, rows = seen
    other = dataclasses.replace(table.blocks[0], backbone="other/bert")
    mixed = dataclasses.replace(table, blocks=(other, *table.blocks[1:]))
    placed = [_at(row, float(at)) for at, row in enumerate(rows)]
    model = Neighbours.fit(mixed, placed)
    effects = kept_effects(mixed)
    found = model.predict(_at(rows[0], 0.0, backbone="other/bert"))
    np.testing.assert_allclose(found, effects[0])
    found = model.predict(_at(rows[1], 0.0))  # the other backbone is nearest, and left out
    np.testing.assert_allclose(found, effects[1 : NEIGHBOURS + 1].mean(0))
    found = model.predict(_at(rows[0], 0.0, backbone="never/seen"))
    np.testing.assert_allclose(found, effects[:NEIGHBOURS].mean(0))


def test_a_cell_that_no_neighbour_has_is_taken_from_all(seen) -> None:
    table, rows = seen
    lacking = table.take(range(len(table.blocks)))
    lacking.test[3:, 0] = np.nan
    placed = [_at(row, float(at)) for at, row in enumerate(rows)]
    found = Neighbours.fit(lacking, placed).predict(_at(rows[0], 100.0))
    assert found[0] == pytest.approx(np.nanmean(kept_effects(lacking)[:, 0]))
