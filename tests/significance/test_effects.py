from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaft.significance import (
    Interval,
    WinTieLoss,
    bootstrap_interval,
    count_wins,
    effect_size,
    hodges_lehmann,
    wilcoxon_test,
)

DEPRESSION = [-0.952, 0.147, -1.022, -0.43, -0.62, -0.59, -0.49, 0.08, -0.01]
WHOLE_LINE = Interval(-math.inf, math.inf, 0.95)

differences = st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=15)
distinct = st.lists(st.integers(1, 4000), min_size=6, max_size=15, unique=True).map(
    lambda drawn: [(value - 2000) + 0.25 for value in drawn]
)


def test_effect_size_is_mean_over_deviation() -> None:
    assert effect_size([1.0, 2.0, 3.0]) == pytest.approx(2.0)
    assert effect_size([-1.0, 1.0, 3.0]) == pytest.approx(0.5)


def test_hodges_lehmann_of_depression_scores() -> None:
    # Hollander & Wolfe (1973), examples 3.3 and 3.4: R's wilcox.test gives the same interval
    # at 1 - 2 * 10 / 512 = .961, the closest level above .95 that nine pairs have.
    shift, interval = hodges_lehmann(DEPRESSION)
    assert shift == pytest.approx(-0.46)
    assert (interval.low, interval.high) == pytest.approx((-0.786, -0.01))


@given(distinct)
def test_interval_holds_the_shifts_that_wilcoxon_accepts(values: list[float]) -> None:
    _, interval = hodges_lehmann(values)
    assert (interval.low <= 0.0 <= interval.high) == (wilcoxon_test(values).p_value > 0.05)


def test_interval_of_many_pairs_goes_on_smoothly() -> None:
    values = np.random.default_rng(0).normal(0.1, 1.0, 501)
    exact, approximate = hodges_lehmann(values[:500])[1], hodges_lehmann(values)[1]
    assert approximate.low == pytest.approx(exact.low, abs=0.01)
    assert approximate.high == pytest.approx(exact.high, abs=0.01)


def test_bootstrap_interval_is_reproducible_and_near_the_t_interval() -> None:
    values = np.random.default_rng(1).normal(1.0, 1.0, 60)
    interval = bootstrap_interval(values)
    half_width = 2.0 * values.std(ddof=1) / math.sqrt(60)
    assert interval == bootstrap_interval(values)
    assert interval != bootstrap_interval(values, seed=1)
    assert interval.low == pytest.approx(values.mean() - half_width, abs=0.06)
    assert interval.high == pytest.approx(values.mean() + half_width, abs=0.06)


def test_bootstrap_interval_leans_with_skewed_differences() -> None:
    skewed = np.random.default_rng(2).exponential(1.0, 30)
    interval = bootstrap_interval(skewed)
    assert interval.high - skewed.mean() > skewed.mean() - interval.low


@given(differences, st.integers(-100, 100).map(float))
@pytest.mark.filterwarnings("error")
def test_intervals_move_with_the_differences(values: list[float], shift: float) -> None:
    moved = [value + shift for value in values]
    before, after = hodges_lehmann(values), hodges_lehmann(moved)
    assert after[0] == pytest.approx(before[0] + shift)
    assert after[1].low == pytest.approx(before[1].low + shift)
    assert after[1].high == pytest.approx(before[1].high + shift)
    resampled = bootstrap_interval(values, resamples=200)
    resampled_moved = bootstrap_interval(moved, resamples=200)
    assert resampled_moved.low == pytest.approx(resampled.low + shift, abs=1e-6)
    assert resampled_moved.high == pytest.approx(resampled.high + shift, abs=1e-6)


@given(differences)
def test_turning_the_sign_turns_the_interval(values: list[float]) -> None:
    shift, interval = hodges_lehmann(values)
    turned_shift, turned = hodges_lehmann([-value for value in values])
    assert turned_shift == pytest.approx(-shift)
    assert (turned.low, turned.high) == pytest.approx((-interval.high, -interval.low))


@pytest.mark.filterwarnings("error")
class TestLittleToTell:
    @pytest.mark.parametrize("values", [[], [0.3], [math.nan, 0.3]])
    def test_effect_size_is_unknown(self, values: list[float]) -> None:
        assert math.isnan(effect_size(values))

    @pytest.mark.parametrize("values", [[], [0.3], [math.nan, 0.3], [1.0, 2.0, 3.0, 4.0, 5.0]])
    def test_five_differences_set_no_bounds(self, values: list[float]) -> None:
        assert bootstrap_interval(values) == WHOLE_LINE
        assert hodges_lehmann(values)[1] == WHOLE_LINE

    def test_six_differences_set_bounds(self) -> None:
        values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        assert hodges_lehmann(values)[1] == Interval(1.0, 6.0, 0.95)
        assert 1.0 < bootstrap_interval(values).low < 3.5 < bootstrap_interval(values).high < 6.0

    def test_constant_differences(self) -> None:
        assert effect_size([0.0] * 5) == 0.0
        assert effect_size([-0.2] * 5) == -math.inf
        assert bootstrap_interval([0.2] * 6) == Interval(0.2, 0.2, 0.95)
        assert hodges_lehmann([0.2] * 6) == (0.2, Interval(0.2, 0.2, 0.95))


def test_wins_ties_and_losses() -> None:
    values = [0.3, 0.2, -0.2, 0.0, -0.4, math.nan]
    assert count_wins(values) == WinTieLoss(2, 1, 2)
    assert count_wins(values, tie=0.2) == WinTieLoss(1, 3, 1)
    assert count_wins([]) == WinTieLoss(0, 0, 0)
