from __future__ import annotations

import numpy as np
import pytest

from metaft.prior.described import describe_blocks
from metaft.prior.outlook import OutcomeModels
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
    np.testing.assert_array_equal(outlook.effects(0.0), outlook.average)
    np.testing.assert_allclose(outlook.effects(1.0), outlook.surrogate)
    half = (outlook.average + outlook.surrogate) / 2
    np.testing.assert_allclose(outlook.effects(0.5), half)


def test_the_plateau_lies_at_the_level(seen) -> None:
    _, outlook = seen
    for weight in (0.0, 1.0):
        assert outlook.scores(weight)[outlook.plateau].mean() == pytest.approx(outlook.level)


def test_doubts_are_standard_errors_over_tasks(seen) -> None:
    models, outlook = seen
    plain = models.space.plain
    leads = models.scores.effects - models.scores.effects[:, [plain]]
    doubts = outlook.doubts(plain)
    np.testing.assert_allclose(doubts, leads.std(0, ddof=1) / np.sqrt(6), atol=1e-9)
    assert doubts[plain] == 0.0


def test_one_task_leaves_everything_in_doubt(make_world) -> None:
    world = make_world(1)
    models = OutcomeModels.fit(tabulate(world.traces), world.described)
    doubts = models.look_at(world.described[0]).doubts(models.space.plain)
    assert np.isinf(np.delete(doubts, models.space.plain)).all()
