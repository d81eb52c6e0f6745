from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metaft.features.extract import FEATURES
from metaft.prior.places import FEATURE_GROUPS, OTHER_BACKBONE, OTHER_SORT, Nearness, Places, Tuning
from metaft.prior.scaling import Scaling


@pytest.fixture
def rows(make_world):
    rows = make_world(3, sizes=(128, 512)).described
    return [*rows, dataclasses.replace(rows[0], backbone="other")]


def _places(rows) -> Places:
    scalings = {group: Scaling.fit(names, rows) for group, names in FEATURE_GROUPS.items()}
    return Places.of(rows, scalings)


def test_groups_name_features_once() -> None:
    named = [name for names in FEATURE_GROUPS.values() for name in names]
    assert len(named) == len(set(named))
    assert set(named) <= set(FEATURES)


def test_covariance_by_hand(rows) -> None:
    places = _places(rows)
    tuning = Tuning(everywhere=1.0, alike=10.0, features=0.0, own=100.0)
    covariance = Nearness.between(places, places).covariance(tuning)
    like = np.exp(-0.5 * (2 / 1.5) ** 2)  # 128 and 512 rows
    assert covariance[0, 0] == pytest.approx(111)
    assert covariance[0, 1] == pytest.approx(1 + 110 * like)  # the task at another size
    assert covariance[0, 2] == pytest.approx(11)  # another task of this size
    assert covariance[0, -1] == pytest.approx(1 + 110 * OTHER_BACKBONE)


def test_groups_without_precision_do_not_count(rows) -> None:
    places = _places(rows)
    nearness = Nearness.between(places, places)
    none = Tuning(precisions=dict.fromkeys(FEATURE_GROUPS, 0.0))
    all_alike = nearness.covariance(none) - nearness.covariance(
        dataclasses.replace(none, features=0.0)
    )
    np.testing.assert_allclose(all_alike[:6, :6], none.features)
    near = nearness.covariance(Tuning())
    assert near[0, 2] < nearness.covariance(none)[0, 2]


def test_without_features_keeps_what_is_shared() -> None:
    assert Tuning().without_features.shared == Tuning().shared
    assert Tuning().without_features.features == 0.0


def test_sorts_share_half_of_everything(rows) -> None:
    tagged = [rows[0], dataclasses.replace(rows[2], kind="ner")]
    same = Nearness.between(_places(rows), _places(rows)).covariance(Tuning())
    both = Nearness.between(_places(tagged), _places(tagged)).covariance(
        dataclasses.replace(Tuning(), features=0.0)
    )
    assert both[0, 0] == pytest.approx(same[0, 0] - Tuning().features)
    assert both[0, 1] == pytest.approx(OTHER_SORT * (Tuning().everywhere + Tuning().alike))
