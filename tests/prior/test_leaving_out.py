from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaft.prior import leaving_out
from metaft.prior.described import describe_blocks
from metaft.prior.leaving_out import (
    calibrate_all,
    calibration_figures,
    count_fits,
    group_tasks,
    leave_each_out,
)
from metaft.prior.manifest import Manifest, finite
from metaft.prior.rivals import METHODS
from metaft.prior.table import tabulate


def _see(world, relatives=None):
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    return table, leave_each_out(table, rows, relatives or world.relatives)


@given(st.integers(1, 40), st.integers(0, 5))
def test_groups_hold_every_task_once(count: int, kin: int) -> None:
    tasks = [f"t{number:02d}" for number in range(count)]
    relatives = {task: frozenset(tasks[:kin]) - {task} for task in tasks[:kin]}
    groups = group_tasks(tasks, relatives)
    assert sorted(task for group in groups for task in group) == tasks
    assert len(groups) <= leaving_out.MOST_GROUPS


def test_relatives_share_a_group() -> None:
    tasks = [f"t{number:02d}" for number in range(20)]
    relatives = {"t03": frozenset({"t17"}), "t17": frozenset({"t03"})}
    assert any({"t03", "t17"} <= set(group) for group in group_tasks(tasks, relatives))


@pytest.mark.parametrize("tasks", [5, 11])
def test_a_task_never_leaks_into_its_own_fold(make_world, with_scores, tasks) -> None:
    """Whatever happens to a task's scores, what its fold expects and chooses stays the same."""
    world = make_world(tasks, recipes=4, epochs=2)
    changed = with_scores(world.traces, "task01", 20.0)
    table, before = _see(world)
    other_table, after = _see(type(world)(changed, world.described, world.relatives))
    assert not np.allclose(table.test[1], other_table.test[1])
    np.testing.assert_array_equal(before[1].outlook.average, after[1].outlook.average)
    np.testing.assert_array_equal(
        before[1].outlook.surrogate.effects, after[1].outlook.surrogate.effects
    )
    assert before[1].outlook.level == after[1].outlook.level
    assert before[1].calibration == after[1].calibration
    for name in ("learned", "learned-cost", "best-average", "1-nn"):
        one = METHODS[name](table, before[1])
        other = METHODS[name](other_table, after[1])
        assert one is not None
        assert other is not None
        assert one.cells == other.cells
    assert before[2].outlook.level != after[2].outlook.level  # the others do learn from it


def test_relatives_never_leak_either(make_world, with_scores) -> None:
    world = make_world(11, recipes=4, epochs=2)  # Nine others, so that the interval has a width.
    relatives = world.relatives | {"task01": frozenset({"task03"}), "task03": frozenset({"task01"})}
    changed = with_scores(world.traces, "task03", 20.0)
    _, before = _see(world, relatives)
    _, after = _see(type(world)(changed, world.described, world.relatives), relatives)
    one, same = before[1], after[1]
    np.testing.assert_array_equal(one.averages.effects, same.averages.effects)
    np.testing.assert_array_equal(one.outlook.average, same.outlook.average)
    np.testing.assert_array_equal(one.outlook.pooled.effects, same.outlook.pooled.effects)
    np.testing.assert_array_equal(one.outlook.surrogate.effects, same.outlook.surrogate.effects)
    assert one.outlook.level == same.outlook.level
    assert math.isfinite(one.calibration.relative_width)
    assert one.calibration == same.calibration
    assert "task03" not in one.outlook.distances
    assert before[2].outlook.level != after[2].outlook.level, "the others do learn from it"
    assert before[2].calibration != after[2].calibration


def test_a_task_related_to_all_others_cannot_be_left_out(make_world) -> None:
    world = make_world(3, recipes=4, epochs=2)
    relatives = {"task00": frozenset({"task01", "task02"})}
    table, left_out = _see(world, {**world.relatives, **relatives})
    assert [table.blocks[left.row].task for left in left_out] == ["task01", "task02"]


def test_fits_are_counted(make_world) -> None:
    world = make_world(11, recipes=4, epochs=2)
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    fits = []
    leave_each_out(table, rows, world.relatives, on_fit=lambda: fits.append(1))
    assert len(fits) == count_fits(table.tasks, world.relatives)


def test_a_weight_that_no_fold_believed_in_is_not_shipped(telling) -> None:
    doubting = [
        dataclasses.replace(left, calibration=dataclasses.replace(left.calibration, weight=0.0))
        for left in telling.left_out
    ]
    assert calibrate_all(telling.table, telling.left_out)["classes"].weight > 0.0
    assert calibrate_all(telling.table, doubting)["classes"].weight == 0.0


def test_no_bound_is_not_stored_as_not_measured(telling) -> None:
    stored = calibration_figures(telling.table, telling.left_out, width_elsewhere=math.inf)
    assert Manifest(stored).calibration_of("classes").relative_width_elsewhere == math.inf
    stored = calibration_figures(telling.table, telling.left_out)
    assert math.isnan(Manifest(finite(stored)).calibration_of("classes").relative_width_elsewhere)
