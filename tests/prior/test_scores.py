from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metaft.prior.averages import effects_of
from metaft.prior.described import describe_blocks
from metaft.prior.scores import ScoreModel
from metaft.prior.table import tabulate
from metaft.recipes import PLAIN, design
from metaft.traces.trace import Trace


def _fit(world) -> ScoreModel:
    table = tabulate(world.traces)
    return ScoreModel.fit(table, describe_blocks(table.blocks, world.described))


def test_effects_are_relative_to_the_task() -> None:
    effects = effects_of(np.array([[90.0, 92.0, 94.0], [50.0, 52.0, 54.0]]))
    np.testing.assert_allclose(effects, [[-2, 0, 2], [-2, 0, 2]])


def test_a_missing_cell_does_not_shift_the_others() -> None:
    effects = effects_of(np.array([[90.0, 92.0, 94.0], [50.0, 52.0, np.nan]]))
    np.testing.assert_allclose(effects[0, :2] - effects[1, :2], 0, atol=1e-6)


def test_average_is_the_mean_effect_of_alike_blocks(make_world) -> None:
    world = make_world(4, sizes=(128, 512))
    model, row = _fit(world), world.described[0]
    rows = np.array([block.train_rows for block in model.averages.blocks])
    for size in (128, 512):
        expected = model.averages.effects[rows == size].mean(0)
        np.testing.assert_allclose(model.average(row.with_rows(size)), expected)
    np.testing.assert_allclose(model.average(row.with_rows(400)), model.average(row.with_rows(512)))


def test_an_unknown_backbone_is_averaged_over_all(make_world) -> None:
    world = make_world(4)
    stranger = dataclasses.replace(world.described[0], backbone="never/seen")
    model = _fit(world)
    np.testing.assert_allclose(model.average(stranger), model.averages.effects.mean(0))


def test_a_named_recipe_that_was_never_recorded_is_still_expected(make_world) -> None:
    world = make_world(6, recipes=8)
    without = [t for t in world.traces if t.recipe != PLAIN.extended(3)]
    model = _fit(dataclasses.replace(world, traces=without))
    average = model.average(world.described[0])
    assert np.isfinite(average[model.space.plain])


def test_level_follows_the_probe(make_world) -> None:
    world = make_world(14, recipes=6)
    model = _fit(world)
    row = world.described[0]
    poor, good = (
        dataclasses.replace(row, values={**row.values, "probe_best": value}) for value in (0.6, 0.9)
    )
    assert model.score_level(good) - model.score_level(poor) > 5


def test_a_block_of_other_recipes_does_not_spoil_the_levels(make_world) -> None:
    """Two tables of runs may share no recipe, and the plateau may be of one of them alone."""
    world = make_world(8, recipes=16, epochs=3)
    recipes = list(dict.fromkeys(trace.recipe for trace in world.traces))
    others = {row.task for row in world.described[::2]}
    traces = [
        _flat(trace) if trace.task in others else trace
        for trace in world.traces
        if recipes.index(trace.recipe) % 2 == (trace.task in others)
    ]
    described = [
        dataclasses.replace(row, train_rows=128) if row.task in others else row
        for row in world.described
    ]
    model = _fit(dataclasses.replace(world, traces=traces, described=described))
    levels = [model.score_level(row) for row in described]
    assert min(levels) > 50, "the made-up levels lie between 60 and 90"


def _flat(trace: Trace) -> Trace:
    """Return a run on 128 rows that has the same score after every epoch."""
    reached = {"validation": {"accuracy": 0.7}, "test": {"accuracy": 0.7}}
    curve = [dataclasses.replace(r, **reached, test_halves=(0.7, 0.7)) for r in trace.curve]
    return dataclasses.replace(trace, train_rows=128, curve=tuple(curve))


def test_distance_is_zero_to_itself(make_world) -> None:
    world = make_world(5)
    distances = _fit(world).distances(world.described[2])
    assert next(iter(distances.items())) == ("task02", pytest.approx(0.0))
    assert list(distances.values()) == sorted(distances.values())


def test_the_plateau_is_where_recipes_do_well(make_world) -> None:
    model = _fit(make_world(8))
    mean = model.averages.effects.mean(0)
    assert mean[model.plateau].min() >= np.sort(mean)[-10]
    assert len(design(8, 3)) * 3 == len(model.space)
