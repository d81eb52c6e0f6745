from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metaft.prior.averages import Averages, effects_of, stronger_average
from metaft.prior.table import Block, tabulate


@pytest.fixture(scope="module")
def averages(make_world) -> Averages:
    world = make_world(4, recipes=8, sizes=(128, 512)).tagged(2, recipes=4)
    return Averages.of(tabulate(world.traces))


def _alike(averages: Averages, **asked: object) -> set[tuple[str, int]]:
    block = dataclasses.replace(averages.blocks[0], **asked)
    kept = np.flatnonzero(averages.alike(block))
    return {(averages.blocks[at].sort, averages.blocks[at].train_rows) for at in kept}


def test_the_nearest_size_of_the_same_sort_counts(averages) -> None:
    assert _alike(averages, sort="classes", train_rows=500) == {("classes", 512)}
    assert _alike(averages, sort="tags", train_rows=100) == {("tags", 128)}


def test_what_was_never_recorded_is_like_everything_of_that_size(averages) -> None:
    both = {("classes", 512), ("tags", 512)}
    assert _alike(averages, sort="spans", train_rows=512) == both
    assert _alike(averages, sort="classes", backbone="new", train_rows=512) == {("classes", 512)}


def test_each_sort_is_centred_by_its_own_recipes(averages, make_world) -> None:
    world = make_world(4, recipes=8, sizes=(128, 512)).tagged(2, recipes=4)
    table = tabulate(world.traces)
    tags = np.array([block.sort == "tags" for block in table.blocks])
    np.testing.assert_array_equal(averages.effects[tags], effects_of(table.test[tags]))


def test_a_cell_that_no_like_block_has_is_taken_from_all(averages) -> None:
    tagged = Block("new", averages.blocks[0].backbone, 512, "tags")
    assert np.isfinite(averages.over_alike(tagged)).all()
    lacking = np.isnan(averages.effects[averages.alike(tagged)]).all(0)
    assert 0 < lacking.sum() < len(lacking)


def test_what_a_few_blocks_have_is_not_usual() -> None:
    blocks = tuple(Block(f"task{at}", "tiny/bert", 128) for at in range(4))
    effects = np.zeros((4, 3))
    effects[1:, 0] = np.nan  # a cell that one of four has, one that two have, one that all have
    effects[2:, 1] = np.nan
    usual = Averages(blocks, effects).usual_at(blocks[0])
    assert usual.tolist() == [False, True, True]


def test_the_stronger_average_is_the_one_with_more_points() -> None:
    means = {"best-average": {"points": 70.0}, "best-average-of-all": {"points": 71.0}}
    assert stronger_average(means) == "best-average-of-all"
    assert stronger_average(means | {"best-average": {"points": 72.0}}) == "best-average"
    assert stronger_average({"plain": {"points": 99.0}}) is None
