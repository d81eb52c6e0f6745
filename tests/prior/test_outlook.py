from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metaft.prior.described import describe_blocks
from metaft.prior.outlook import OutcomeModels
from metaft.prior.places import Tuning
from metaft.prior.scores import Tunings
from metaft.prior.table import tabulate


@pytest.fixture(scope="module")
def seen(make_world):
    world = make_world(6)
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    models = OutcomeModels.fit(table, rows)
    return models, models.look_at(rows[0])


def test_weight_blends(seen) -> None:
    _, outlook = seen
    pooled = outlook.pooled.effects - outlook.pooled.excess
    surrogate = outlook.surrogate.effects - outlook.surrogate.excess
    np.testing.assert_allclose(outlook.effects(0.0), pooled)
    np.testing.assert_allclose(outlook.effects(1.0), surrogate)
    np.testing.assert_allclose(outlook.effects(0.5), (pooled + surrogate) / 2)


def test_the_plateau_lies_at_the_level(seen) -> None:
    _, outlook = seen
    for weight in (0.0, 1.0):
        assert outlook.scores(weight)[outlook.plateau].mean() == pytest.approx(outlook.level)


def test_doubts_are_of_the_lead_over_a_cell(seen) -> None:
    models, outlook = seen
    plain = models.space.plain
    covariance = outlook.pooled.spread @ outlook.pooled.spread.T
    variance = np.diag(covariance) + covariance[plain, plain] - 2 * covariance[plain]
    np.testing.assert_allclose(outlook.doubts(plain, 0.0) ** 2, variance, atol=1e-9)
    assert outlook.doubts(plain, 0.0)[plain] == 0.0


def test_more_tasks_leave_less_in_doubt(make_world) -> None:
    doubts, tunings = [], Tunings(Tuning(), Tuning().without_features)
    for tasks in (2, 8):
        world = make_world(tasks, seed=1)
        models = OutcomeModels.fit(tabulate(world.traces), world.described, tunings)
        outlook = models.look_at(dataclasses.replace(world.described[0], task="new"))
        doubts.append(np.delete(outlook.doubts(models.space.plain, 0.0), models.space.plain))
    assert doubts[1].mean() < doubts[0].mean()
