from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from metaft.features.extract import FEATURES
from metaft.prior.level import LevelModel
from metaft.prior.scaling import Scaling


@pytest.fixture(scope="module")
def rows(make_world):
    return make_world(12, recipes=1).described


def _fit(rows, levels) -> tuple[LevelModel, Scaling]:
    scaling = Scaling.fit(FEATURES, rows)
    positions = np.array([scaling.apply(row) for row in rows])
    return LevelModel.fit(rows, positions, np.asarray(levels)), scaling


def _predict(model: LevelModel, scaling: Scaling, row) -> float:
    return model.predict(row, scaling.apply(row))


def test_half_of_the_error_goes(rows) -> None:
    """Where fine-tuning halves the probe's error everywhere, it is expected to do so again."""
    probes = np.array([100 * row.values["probe_best"] for row in rows])
    model, scaling = _fit(rows, 100 - (100 - probes) / 2)
    new = dataclasses.replace(rows[0], values={**rows[0].values, "probe_best": 0.7})
    assert _predict(model, scaling, new) == pytest.approx(85.0, abs=0.5)


def test_a_task_without_a_probe_is_an_average_one(rows) -> None:
    levels = [80.0 + number % 3 for number in range(12)]
    model, scaling = _fit(rows, levels)
    unknown = dataclasses.replace(rows[0], values=dict.fromkeys(FEATURES, math.nan))
    assert _predict(model, scaling, unknown) == pytest.approx(81.0, abs=3.0)


def test_a_perfect_probe_is_no_division_by_zero(rows) -> None:
    perfect = [dataclasses.replace(r, values={**r.values, "probe_best": 1.0}) for r in rows]
    model, scaling = _fit(perfect, np.full(12, 100.0))
    assert _predict(model, scaling, perfect[0]) == pytest.approx(99.0)
