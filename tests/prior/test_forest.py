from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from metaft.prior.averages import kept_effects
from metaft.prior.described import describe_blocks
from metaft.prior.forest import TREES, ProfileForest, Trees
from metaft.prior.profiles import MOST_LOST_POINTS
from metaft.prior.table import tabulate


@pytest.mark.parametrize("examples", [7, 300])
def test_trees_answer_as_scikit_learn_does(examples: int) -> None:
    rng = np.random.default_rng(examples)
    inputs = rng.normal(size=(examples, 6))
    targets = np.where(inputs[:, 2] > 0.3, 5.0, -1.0) + rng.normal(size=examples)
    rival = ExtraTreesRegressor(TREES, min_samples_leaf=5, max_features=0.4, random_state=0)
    asked = np.concatenate([inputs, rng.normal(size=(50, 6))])
    expected = rival.fit(inputs, targets).predict(asked)
    np.testing.assert_allclose(Trees.fit(inputs, targets).predict(asked), expected, atol=1e-12)


@pytest.fixture
def opposed(make_world):
    """Return tasks on half of which the recipes rank the other way round."""
    world = make_world(16, recipes=8, epochs=2).tagged(8, recipes=4)
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    slope = np.linspace(-4, 4, len(table.space))
    signs = np.array([1.0 if block.sort == "tags" else -1.0 for block in table.blocks])
    test = np.where(np.isfinite(table.test), 80 + signs[:, None] * slope, np.nan)
    return dataclasses.replace(table, test=test), rows, slope, signs


def test_a_forest_knows_what_features_tell(opposed) -> None:
    table, rows, slope, signs = opposed
    told = [
        dataclasses.replace(row, kind="classification", values={**row.values, "word_length": sign})
        for row, sign in zip(rows, signs, strict=True)
    ]
    forest = ProfileForest.fit(table, told)
    found = [forest.predict(row, table.space.cells) for row in (told[0], told[-1])]
    assert np.corrcoef(found[0], signs[0] * slope)[0, 1] > 0.5
    assert np.corrcoef(found[1], signs[-1] * slope)[0, 1] > 0.5
    assert found[0].mean() == pytest.approx(0, abs=1e-9)


def test_sorts_are_told_apart(opposed) -> None:
    table, rows, slope, signs = opposed
    alike = [dataclasses.replace(row, values=rows[0].values) for row in rows]
    forest = ProfileForest.fit(table, alike)
    for at in (0, -1):
        found = forest.predict(alike[at], table.space.cells)
        assert np.corrcoef(found, signs[at] * slope)[0, 1] > 0.5


def test_effects_are_cut_where_a_run_fell_apart(make_world) -> None:
    table = tabulate(make_world(3, recipes=8, epochs=2).traces)
    table.test[0, 0] = 0.0
    effects = kept_effects(table)[0]
    assert np.nanmax(effects) - np.nanmin(effects) <= MOST_LOST_POINTS + 1e-9
