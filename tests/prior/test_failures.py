from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metaft.prior.described import describe_blocks
from metaft.prior.failures import FailureModel
from metaft.prior.table import tabulate


def test_high_rates_are_learned_as_dangerous(make_world) -> None:
    world = make_world(8, recipes=16)
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    chances = FailureModel.fit(table, rows).probabilities(rows[0])
    failed = table.failed[0] > 0.5
    assert failed.any()
    assert chances[failed].min() > chances[~failed].mean()
    assert chances[table.space.plain] < 0.05


def test_no_failure_among_few_runs_is_no_promise(make_world) -> None:
    traces = [t for t in make_world(5, recipes=4).traces if t.status == "ok"]
    table = tabulate(traces)
    rows = describe_blocks(table.blocks, make_world(5, recipes=4).described)
    chances = FailureModel.fit(table, rows).probabilities(rows[0])
    runs = len(traces)
    np.testing.assert_allclose(chances, 0.5 / (runs + 1))


def test_only_failures_leave_some_hope(make_world) -> None:
    world = make_world(3, recipes=4)
    broken = [dataclasses.replace(t, status="failed", curve=()) for t in world.traces]
    table = tabulate(broken)
    rows = describe_blocks(table.blocks, world.described)
    chances = FailureModel.fit(table, rows).probabilities(rows[0])
    assert chances == pytest.approx((12 + 0.5) / 13)
