from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from metaft.features.extract import FEATURES
from metaft.prior.level import LevelModel


@pytest.fixture(scope="module")
def rows(make_world):
    return make_world(12, recipes=1).described


def _with_values(row, **values: float):
    return dataclasses.replace(row, values={**row.values, **values})


def _gained(rows, gains) -> np.ndarray:
    """Return levels in points, so much above the probes in log odds."""
    probes = np.array([row.values["probe_best"] for row in rows])
    return 100 / (1 + (1 - probes) / probes * np.exp(-np.asarray(gains)))


def test_the_same_gain_everywhere_is_expected_anywhere(rows) -> None:
    model = LevelModel.fit(rows, _gained(rows, np.full(12, 0.5)))
    new = _with_values(rows[0], probe_best=0.7)
    assert model.predict(new) == pytest.approx(float(_gained([new], [0.5])[0]))


def test_what_gains_more_is_seen_in_the_classes(rows) -> None:
    """Tasks of many classes gain, others do not; one like the former is expected to."""
    many = [number % 2 == 1 for number in range(12)]
    told = [
        _with_values(row, log2_classes=6.0 if is_many else 1.0, probe_best=0.6)
        for row, is_many in zip(rows, many, strict=True)
    ]
    model = LevelModel.fit(told, _gained(told, np.where(many, 1.5, 0.0)))
    few, lots = (model.predict(_with_values(told[0], log2_classes=c)) for c in (1.0, 6.0))
    assert lots - few > 10.0
    assert 60.0 < few < 72.0


def test_far_from_all_tasks_the_usual_gain_is_expected(rows) -> None:
    gains = np.linspace(0.0, 1.0, 12)
    model = LevelModel.fit(rows, _gained(rows, gains))
    far = _with_values(rows[0], log2_classes=1000.0, probe_best=0.5)
    assert model.predict(far) == pytest.approx(100 / (1 + math.exp(-0.5)), abs=0.01)


def test_a_task_without_a_probe_is_an_average_one(rows) -> None:
    levels = np.array([80.0 + number % 3 for number in range(12)])
    model = LevelModel.fit(rows, levels)
    unknown = dataclasses.replace(rows[0], values=dict.fromkeys(FEATURES, math.nan))
    assert model.predict(unknown) == pytest.approx(81.0, abs=3.0)


def test_blocks_without_any_probe_still_tell_the_level(rows) -> None:
    blind = [_with_values(row, probe_best=math.nan) for row in rows]
    model = LevelModel.fit(blind, np.full(12, 75.0))
    assert model.predict(blind[0]) == pytest.approx(75.0)


def test_a_perfect_probe_is_no_division_by_zero(rows) -> None:
    perfect = [_with_values(row, probe_best=1.0) for row in rows]
    model = LevelModel.fit(perfect, np.full(12, 100.0))
    assert model.predict(perfect[0]) == pytest.approx(97.0)


def test_sorts_share_no_gain(rows) -> None:
    """Entities lie far below single words, classes above the probe: neither moves the other."""
    mixed = [
        dataclasses.replace(row, kind="ner") if number < 4 else row
        for number, row in enumerate(rows)
    ]
    model = LevelModel.fit(mixed, _gained(mixed, [-1.0] * 4 + [0.5] * 8))
    for kind, gain in (("ner", -1.0), ("classification", 0.5), ("qa", 0.0)):
        new = dataclasses.replace(rows[0], kind=kind)
        assert model.predict(new) == pytest.approx(float(_gained([new], [gain])[0]))


def test_neighbours_of_another_sort_pull_nothing(rows) -> None:
    alone = LevelModel.fit(rows[4:], _gained(rows[4:], np.linspace(-0.5, 0.5, 8)))
    mixed = [dataclasses.replace(row, kind="ner") for row in rows[:4]] + rows[4:]
    # The same rows to scale by, so that only what is shared can make a difference.
    both = LevelModel.fit(mixed, _gained(mixed, [-3.0] * 4 + list(np.linspace(-0.5, 0.5, 8))))
    neither = LevelModel.fit(mixed, _gained(mixed, [2.0] * 4 + list(np.linspace(-0.5, 0.5, 8))))
    assert both.predict(rows[5]) == pytest.approx(neither.predict(rows[5]))
    assert alone.usual_gains["classes"] == pytest.approx(both.usual_gains["classes"])
