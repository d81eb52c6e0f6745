from __future__ import annotations

import dataclasses
import math

import numpy as np

from metaft.prior.scaling import Scaling

_NAMES = ("probe_best", "is_pair", "majority_share")


def _rows(make_world, values):
    described = make_world(len(values), recipes=1).described
    return [
        dataclasses.replace(row, values=dict(zip(_NAMES, value, strict=True)))
        for row, value in zip(described, values, strict=True)
    ]


def test_known_values_have_mean_0_and_deviation_1(make_world) -> None:
    rows = _rows(make_world, [(0.5, 0, math.nan), (0.7, 0, 0.4), (0.9, 0, 0.6)])
    scaling = Scaling.fit(_NAMES, rows)
    scaled = np.array([scaling.apply(row) for row in rows])
    np.testing.assert_allclose(scaled[:, 0].mean(), 0, atol=1e-12)
    np.testing.assert_allclose(scaled[:, 0].std(), 1)
    np.testing.assert_allclose(scaled[:, 2], [0, -1, 1])  # unknown is average


def test_a_constant_feature_still_tells_a_stranger(make_world) -> None:
    rows = _rows(make_world, [(0.5, 0, 0.4), (0.7, 0, 0.6)])
    stranger = dataclasses.replace(rows[0], values={**rows[0].values, "is_pair": 1})
    scaling = Scaling.fit(_NAMES, rows)
    assert scaling.apply(rows[0])[1] == 0.0
    assert scaling.apply(stranger)[1] == 1.0


def test_one_odd_feature_does_not_decide(make_world) -> None:
    rows = _rows(make_world, [(0.5, 0, 0.4), (0.7, 0, 0.4001)])
    odd = dataclasses.replace(rows[0], values={**rows[0].values, "majority_share": 1e6})
    assert np.abs(Scaling.fit(_NAMES, rows).apply(odd)).max() == 5.0
