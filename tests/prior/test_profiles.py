from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from metaft.prior.described import describe_blocks
from metaft.prior.places import Nearness, Tuning
from metaft.prior.profiles import (
    MOST_LOST_POINTS,
    MOST_TUNING_BLOCKS,
    Observed,
    ProfileProcess,
    System,
    draw_blocks,
    kept_points,
)
from metaft.prior.table import tabulate

TUNING = Tuning(noise=0.5, everywhere=2.0, alike=1.0, features=3.0, own=1.5)


@pytest.fixture(scope="module")
def seen(make_world):
    world = make_world(6, sizes=(128, 512), recipes=6, epochs=2)
    table = tabulate(world.traces)
    table.test[3, :4] = np.nan  # not every block has every cell
    rows = describe_blocks(table.blocks, world.described)
    return table, rows, ProfileProcess.fit(table, rows, TUNING)


def _functions(process: ProfileProcess, table, row: int) -> np.ndarray:
    return process.basis.expand(table.space.cells, table.blocks[row].train_rows)


def _dense(seen):
    """Return the scores of all blocks, centred, and their covariance without any short cut."""
    table, _, process = seen
    shared = Nearness.between(process.places, process.places).covariance(TUNING)
    scores, owners, functions, centrings = [], [], [], []
    for row, points in enumerate(table.test):
        known = np.isfinite(points)
        count = int(known.sum())
        scores.append(kept_points(points[known]))
        owners += [row] * count
        functions.append(_functions(process, table, row)[known])
        centrings.append(np.eye(count) - 1.0 / count)
    stacked = np.concatenate(functions)
    covariance = (stacked @ stacked.T) * shared[np.ix_(owners, owners)]
    centring = _block_diagonal(centrings)
    return np.concatenate(scores), covariance, centring, stacked, np.array(owners)


def _block_diagonal(blocks):
    from scipy.linalg import block_diag

    return block_diag(*blocks)


def test_answers_are_those_of_the_dense_process(seen) -> None:
    table, rows, process = seen
    scores, covariance, centring, stacked, owners = _dense(seen)
    observed = centring @ covariance @ centring + TUNING.noise * np.eye(len(scores))
    weights = np.linalg.solve(observed, centring @ scores)
    asked = dataclasses.replace(rows[1], task="never seen")
    place = process.places.take(np.array([1]))
    place = dataclasses.replace(place, tasks=np.array(["never seen"]))
    near = Nearness.between(place, process.places).covariance(TUNING)[0]
    functions = _functions(process, table, 1)
    cross = (functions @ stacked.T) * near[owners] @ centring
    found = process.predict(asked, functions)
    expected = cross @ weights
    np.testing.assert_allclose(found.effects, expected - expected.mean(), atol=1e-6)
    cells = np.eye(len(functions)) - 1.0 / len(functions)
    doubt = TUNING.shared * functions @ functions.T - cross @ np.linalg.solve(observed, cross.T)
    np.testing.assert_allclose(found.spread @ found.spread.T, cells @ doubt @ cells, atol=1e-6)


def test_evidence_is_that_of_the_dense_process(seen) -> None:
    table, _, process = seen
    nearness = Nearness.between(process.places, process.places)
    found = []
    for tuning in (TUNING, dataclasses.replace(TUNING, noise=1.7, features=0.4)):
        system = System.of(
            [
                Observed.of(points, _functions(process, table, row))
                for row, points in enumerate(table.test)
            ]
        )
        found.append(system.log_evidence(system.overlaps, nearness, tuning))
    expected = [_log_density(seen, TUNING), _log_density(seen, TUNING, noise=1.7, features=0.4)]
    assert found[0] - found[1] == pytest.approx(expected[0] - expected[1])


def _log_density(seen, tuning: Tuning, **changes) -> float:
    """Return the log density of the scores, looked at relative to each block's mean."""
    tuning = dataclasses.replace(tuning, **changes)
    _, _, process = seen
    shared = Nearness.between(process.places, process.places).covariance(tuning)
    scores, _, centring, stacked, owners = _dense(seen)
    covariance = (stacked @ stacked.T) * shared[np.ix_(owners, owners)]
    values, vectors = np.linalg.eigh(centring)
    free = vectors[:, values > 0.5]  # directions that a block's mean does not move
    inner = free.T @ covariance @ free + tuning.noise * np.eye(free.shape[1])
    return float(multivariate_normal(cov=inner).logpdf(free.T @ scores))


def test_how_bad_a_bad_cell_is_does_not_count() -> None:
    np.testing.assert_allclose(kept_points(np.array([90.0, 85.0, 10.0])), [90, 85, 80])
    assert MOST_LOST_POINTS == 10.0


def test_where_all_is_shared_and_nothing_noise_it_is_the_average(make_world) -> None:
    world = make_world(5, recipes=4, epochs=2, noise_points=0.0)
    table = tabulate(world.traces)
    tuning = Tuning(noise=1e-4, everywhere=1e4, alike=1e-9, features=1e-9, own=1e-9)
    process = ProfileProcess.fit(table, world.described, tuning)
    stranger = dataclasses.replace(world.described[0], task="new")
    found = process.predict(stranger, _functions(process, table, 0)).effects
    known = np.isfinite(table.test).all(0)
    kept = np.array([kept_points(points[known]) for points in table.test])
    mean = (kept - kept.mean(1, keepdims=True)).mean(0)
    found = found[known] - found[known].mean()
    np.testing.assert_allclose(found, mean, atol=0.5)  # what a smooth basis leaves


def test_features_share_only_where_they_tell(make_world) -> None:
    world = make_world(20, recipes=8, epochs=2, seed=4)
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    telling = ProfileProcess.fit(table, rows).tuning
    assert telling.features > 1.0
    assert telling.precisions["words"] > 0 or telling.precisions["pairs"] > 0


def test_a_process_without_features_answers_all_alike(seen) -> None:
    table, rows, _ = seen
    process = ProfileProcess.fit(table, rows, groups={})
    assert process.tuning.features == 0.0
    one, other = (
        process.predict(dataclasses.replace(rows[at], task="new"), _functions(process, table, at))
        for at in (0, 2)  # two tasks of the same size
    )
    np.testing.assert_allclose(one.effects, other.effects)


def test_what_is_lost_beyond_is_averaged_apart(make_world) -> None:
    world = make_world(4, recipes=4, epochs=2, noise_points=0.0)
    table = tabulate(world.traces)
    table.test[:, 0] = np.nanmax(table.test, 1) - np.array([5.0, 12.0, 14.0, np.nan])
    process = ProfileProcess.fit(table, world.described, TUNING.without_features)
    stranger = dataclasses.replace(world.described[0], task="new")
    found = process.predict(stranger, _functions(process, table, 0))
    assert found.excess[0] == pytest.approx((0.0 + 2.0 + 4.0) / 3)  # all lie equally far


def test_few_blocks_are_all_tuned_on() -> None:
    assert draw_blocks(MOST_TUNING_BLOCKS).tolist() == list(range(MOST_TUNING_BLOCKS))


@pytest.mark.parametrize("sizes", [2, 3])
def test_blocks_are_drawn_from_all_sizes(sizes: int) -> None:
    drawn = draw_blocks(60 * sizes)  # in order of task and size
    shares = np.bincount(drawn % sizes) / len(drawn)
    assert len(drawn) == MOST_TUNING_BLOCKS
    assert shares.min() > 0.5 / sizes
