from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metaft.prior.committee import Committee
from metaft.prior.described import describe_blocks
from metaft.prior.places import Tuning
from metaft.prior.table import tabulate


@pytest.fixture(scope="module")
def seen(make_world):
    world = make_world(6, recipes=6, epochs=2)
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    return table, rows, Committee.fit(table, rows, Tuning.start(()))


def _ask(committee: Committee, row):
    functions = committee.process.basis.expand(committee.space.cells, row.train_rows)
    return committee.predict(row, functions, ()), committee.process.predict(row, functions)


def test_the_answer_is_the_mean_of_three(seen) -> None:
    _, rows, committee = seen
    profile, of_process = _ask(committee, rows[0])
    forest = committee.forest.predict(rows[0], committee.space.cells)
    near = committee.neighbours.predict(rows[0])
    known = np.isfinite(near)  # what no task has is a guess of the process
    mean = (of_process.effects + forest + near)[known] / 3
    np.testing.assert_allclose(_centred(profile.effects[known]), _centred(mean))
    assert not np.allclose(profile.effects, of_process.effects)


def _centred(effects: np.ndarray) -> np.ndarray:
    return effects - effects.mean()


def test_the_process_says_how_sure_it_is(seen) -> None:
    _, rows, committee = seen
    profile, of_process = _ask(committee, rows[0])
    np.testing.assert_array_equal(profile.spread, of_process.spread)
    np.testing.assert_array_equal(profile.excess, of_process.excess)


def test_a_recipe_that_no_neighbour_ever_ran_is_still_expected(seen) -> None:
    table, rows, _ = seen
    lacking = dataclasses.replace(table, test=table.test.copy())
    lacking.test[:, 0] = np.nan
    profile, _ = _ask(Committee.fit(lacking, rows, Tuning.start(())), rows[0])
    assert np.isfinite(profile.effects).all()
