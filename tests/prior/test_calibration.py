from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaft.prior.calibration import Calibration, calibrate, conformal_half_width
from metaft.prior.profiles import Profile
from metaft.prior.table import MEASURES


@given(st.floats(0.0, 10.0), st.floats(0.0, 1.0))
def test_weight_falls_with_distance(distance: float, weight: float) -> None:
    calibration = Calibration(weight=weight, near=1.0, far=2.0, relative_width=1.0)
    here, farther = calibration.weight_at(distance), calibration.weight_at(distance + 0.5)
    assert 0.0 <= farther <= here <= weight
    if distance <= 1.0:
        assert here == weight
    if distance >= 2.0:
        assert here == 0.0


def test_half_width_is_the_conformal_quantile() -> None:
    errors = np.arange(1.0, 20.0)  # 19 tasks: the 18th smallest error is the 90 % bound
    assert conformal_half_width(errors, [str(error) for error in errors]) == 18.0


def test_a_task_with_many_blocks_counts_once() -> None:
    errors = np.array([*np.arange(1.0, 20.0), 0.1, 0.1, 0.1])
    tasks = [*(str(number) for number in range(19)), "0", "0", "0"]
    assert conformal_half_width(errors, tasks) == 18.0


def test_few_tasks_promise_nothing() -> None:
    assert conformal_half_width(np.ones(8), list("abcdefgh")) == math.inf
    assert conformal_half_width(np.ones(9), list("abcdefghi")) == 1.0


def test_what_is_nearly_certain_has_a_narrow_interval() -> None:
    calibration = Calibration(weight=0.0, near=1.0, far=2.0, relative_width=0.2)
    assert calibration.half_width_at(50.0) == pytest.approx(10.0)
    assert calibration.half_width_at(80.0) == pytest.approx(8.0)
    widths = [calibration.half_width_at(points) for points in (95.0, 99.0, 104.0)]
    assert widths == [widths[0]] * 3  # never narrower than this
    assert calibration.half_width_at(-5.0) == pytest.approx(widths[0])


def test_intervals_cover() -> None:
    """Over many worlds of exchangeable errors, 90 % of new ones are held, whatever their shape."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(800):
        errors = np.abs(rng.standard_t(3, size=25))
        covered.append(errors[0] <= conformal_half_width(errors[1:], [str(i) for i in range(24)]))
    assert 0.88 < np.mean(covered) < 0.95


def test_nothing_to_learn_from() -> None:
    calibration = calibrate(None, [])  # type: ignore[arg-type]
    assert calibration.weight_at(0.0) == 0.0
    assert calibration.half_width_at(80.0) == math.inf


def test_the_surrogate_counts_only_where_features_tell(telling, silent) -> None:
    def weight_of(seen) -> float:
        return calibrate(seen.table, [left.outlook for left in seen.left_out]).weight

    assert weight_of(telling) > 0.0
    assert weight_of(silent) == 0.0


def _times(factor: float, profile: Profile) -> Profile:
    return dataclasses.replace(profile, effects=factor * profile.effects)


def test_a_lucky_surrogate_that_predicts_badly_does_not_count(telling) -> None:
    """The ranks are as good as ever, but what it says of the scores is worse than the average."""
    loud = [
        dataclasses.replace(left.outlook, surrogate=_times(10, left.outlook.surrogate))
        for left in telling.left_out
    ]
    assert calibrate(telling.table, loud).weight == 0.0


def test_weights_are_chosen_inside_the_fold(telling, silent) -> None:
    assert np.mean([left.calibration.weight > 0 for left in telling.left_out]) > 0.8
    assert np.mean([left.calibration.weight > 0 for left in silent.left_out]) < 0.3


def test_each_sort_is_trusted_for_itself(telling, silent) -> None:
    """Tags that no feature tells of do not take the trust from classes, nor the other way."""
    outlooks = [left.outlook for left in (*telling.left_out, *silent.left_out)]
    table = telling.table
    both = dataclasses.replace(
        table,
        blocks=(*table.blocks, *(dataclasses.replace(b, sort="tags") for b in table.blocks)),
        **{name: np.concatenate([getattr(table, name)] * 2) for name in MEASURES},
    )
    classes, tags = (calibrate(both, outlooks, sort=sort) for sort in ("classes", "tags"))
    alone = calibrate(table, outlooks[: len(table.blocks)])
    assert classes == alone
    assert classes.weight > 0.0
    assert tags.weight == 0.0
    # A sort that was never recorded is judged by all.
    assert calibrate(both, outlooks, sort="spans").near > 0.0
