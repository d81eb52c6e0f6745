from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from metaft.prior import transfer
from metaft.prior.calibration import choosable, recorded_choice
from metaft.prior.described import describe_blocks
from metaft.prior.leaving_out import leave_each_out, leave_out_hidden
from metaft.prior.table import tabulate
from metaft.prior.transfer import count_transfer_fits, hidden_of, judge_transfer


@pytest.fixture(scope="module")
def two_sizes(make_world):
    """Return a world recorded at two sizes, and its tasks left out in turn."""
    world = make_world(6, recipes=4, sizes=(128, 512))
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    return table, rows, world.relatives, leave_each_out(table, rows, world.relatives)


def test_every_size_of_several_can_be_hidden(two_sizes) -> None:
    table = two_sizes[0]
    hidden = hidden_of(table)
    assert [one.asked for one in hidden] == ["about 128 rows", "about 512 rows"]
    for one, rows in zip(hidden, (128, 512), strict=True):
        assert {table.blocks[at].train_rows for at in one.rows} == {rows}


def test_a_backbone_of_several_can_be_hidden(two_sizes) -> None:
    table = two_sizes[0]
    blocks = [
        dataclasses.replace(block, backbone=f"hub/{'small' if at % 2 else 'large'}", train_rows=512)
        for at, block in enumerate(table.blocks)
    ]
    moved = dataclasses.replace(table, blocks=tuple(blocks))
    assert [one.asked for one in hidden_of(moved)] == ["large", "small"]


def test_one_of_each_cannot_be_hidden(two_sizes) -> None:
    table, rows, relatives, _ = two_sizes
    small = [at for at, block in enumerate(table.blocks) if block.train_rows == 128]
    own = table.take(small)
    assert hidden_of(own) == []
    found = judge_transfer(own, [rows[at] for at in small], relatives, [])
    assert found["hidden"] == []
    assert math.isnan(found["relative_width"])


def test_nothing_is_learned_from_hidden_blocks(two_sizes) -> None:
    """Whatever the hidden blocks score, the models that are asked about them say the same."""
    table, rows, relatives, left_out = two_sizes
    hidden = hidden_of(table)[1].rows
    other = table.test.copy()
    other[list(hidden)] = np.random.default_rng(0).uniform(0, 100, other[list(hidden)].shape)
    looks = [
        leave_out_hidden(changed, rows, relatives, left_out, hidden)
        for changed in (table, dataclasses.replace(table, test=other))
    ]
    assert [left.row for left in looks[0]] == sorted(hidden)
    for one, same in zip(*looks, strict=True):
        np.testing.assert_array_equal(one.outlook.surrogate.effects, same.outlook.surrogate.effects)
        assert one.outlook.level == same.outlook.level


def test_the_width_of_transfer_covers_what_is_hidden(
    make_world, two_sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine tasks are the fewest that promise a width: that of the largest of their errors."""
    world = make_world(9, recipes=4, sizes=(128, 512))
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    like = two_sizes[3][0]  # Of `left_out` the trust alone is taken.
    left_out = [dataclasses.replace(like, row=at) for at in range(len(table.blocks))]
    relative_error, errors = transfer.relative_error, []

    def measure(*told) -> float:
        errors.append(relative_error(*told))
        return errors[-1]

    monkeypatch.setattr(transfer, "relative_error", measure)
    found = judge_transfer(table, rows, world.relatives, left_out)
    assert len(errors) == len(table.blocks)
    assert found["relative_width"] == max(errors) > min(errors) > 0.0


def test_a_recipe_that_only_the_hidden_blocks_have_is_not_taken(two_sizes) -> None:
    """A prior without these blocks has no such cell, however good models guess it to be."""
    table, rows, relatives, left_out = two_sizes
    hidden = next(one for one in hidden_of(table) if one.asked == "about 512 rows")
    full = np.flatnonzero(table.space.epochs == table.space.epochs.max())
    only_there = next(at for at in full if at != table.space.plain)
    family = table.space.families == table.space.families[only_there]
    scores = table.test.copy()
    scores[np.ix_([at for at in range(len(rows)) if at not in hidden.rows], family)] = np.nan
    lacking = dataclasses.replace(table, test=scores)
    seen = leave_out_hidden(lacking, rows, relatives, left_out, hidden.rows)
    for left in seen:
        allowed = choosable(lacking, left.row, left.outlook)
        assert not allowed[family].any()
        assert allowed[~family].all()
        praised = dataclasses.replace(
            left.outlook, pooled=dataclasses.replace(left.outlook.pooled, effects=family * 99.0)
        )
        assert not family[recorded_choice(lacking, left.row, praised, 0.0)]


def test_transfer_is_judged_and_few_tasks_promise_no_width(two_sizes) -> None:
    table, rows, relatives, left_out = two_sizes
    fits: list[int] = []
    found = judge_transfer(table, rows, relatives, left_out, on_fit=lambda: fits.append(1))
    assert len(fits) == count_transfer_fits(table, relatives)
    assert [part["tasks"] for part in found["hidden"]] == [6, 6]
    assert {"learned", "plain", "best-average-of-all"} <= set(found["hidden"][0]["methods"])
    tests = [part["learned - average"] for part in found["hidden"]]
    for part, test in zip(found["hidden"], tests, strict=True):
        assert test["rival"] == "best-average-of-all"
        gain = part["methods"]["learned"]["points"] - part["methods"][test["rival"]]["points"]
        assert test["points"]["mean"] == pytest.approx(gain)
    smaller = min(tests, key=lambda test: test["points"]["t_test_p"])["points"]
    assert smaller["t_test_p_holm"] == pytest.approx(min(1.0, 2 * smaller["t_test_p"]))
    assert found["relative_width"] == math.inf  # six tasks promise nothing
