from __future__ import annotations

import numpy as np
import pytest

from metaft.prior import ridge
from metaft.prior.ridge import Ridge, left_out_errors


def test_a_straight_line_is_found() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 3))
    targets = 50 + inputs @ np.array([2.0, -1.0, 0.0])
    fitted = Ridge.fit(inputs, targets)
    np.testing.assert_allclose(fitted.predict(inputs), targets, atol=0.2)


def test_noise_is_shrunk() -> None:
    rng = np.random.default_rng(1)
    inputs, targets = rng.normal(size=(30, 11)), rng.normal(size=30)
    unshrunk = np.linalg.lstsq(inputs - inputs.mean(0), targets - targets.mean(), rcond=None)[0]
    assert np.abs(Ridge.fit(inputs, targets).weights).sum() < np.abs(unshrunk).sum() / 2


def test_left_out_error_is_that_of_refitting() -> None:
    rng = np.random.default_rng(2)
    inputs, targets = rng.normal(size=(10, 3)), rng.normal(size=10)
    inputs, targets = inputs - inputs.mean(0), targets - targets.mean()
    errors = []
    for row in range(10):
        kept = np.arange(10) != row
        centre, mean = inputs[kept].mean(0), targets[kept].mean()
        weights = ridge._solve(inputs[kept] - centre, targets[kept] - mean, 0.7)
        errors.append(targets[row] - mean - (inputs[row] - centre) @ weights)
    np.testing.assert_allclose(left_out_errors(inputs, targets, 0.7), np.square(errors))


def test_one_row_is_its_own_mean() -> None:
    fitted = Ridge.fit(np.array([[1.0, 2.0]]), np.array([80.0]))
    assert fitted.predict(np.array([5.0, -3.0])) == pytest.approx(80.0)
