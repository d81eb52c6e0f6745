from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaft.significance import (
    detectable_effect,
    fewest_pairs,
    pairs_needed,
    power_of,
    wilcoxon_test,
)


def test_five_pairs_never_reach_five_percent() -> None:
    assert fewest_pairs() == 6
    assert fewest_pairs(0.01) == 8
    assert wilcoxon_test([1.0] * 5).p_value > 0.05 >= wilcoxon_test([1.0] * 6).p_value


def test_pairs_needed_as_in_cohens_tables() -> None:
    # G*Power 3.1, difference between two dependent means, two tails, power .80.
    assert pairs_needed(0.2) == 199
    assert pairs_needed(0.5) == 34
    assert pairs_needed(0.8) == 15
    assert pairs_needed(-0.5) == 34
    assert pairs_needed(0.5, power=0.9) == 44


def test_power_of_ten_and_of_forty_datasets() -> None:
    assert power_of(10, 0.58) == pytest.approx(0.374, abs=1e-3)
    assert power_of(40, 0.58) == pytest.approx(0.947, abs=1e-3)


def test_detectable_effect_turns_power_around() -> None:
    # Cohen (1988), table 2.4.1: a medium effect takes 34 pairs, a large one 15.
    assert detectable_effect(34) == pytest.approx(0.5, abs=0.01)
    assert detectable_effect(15) == pytest.approx(0.8, abs=0.03)
    for pairs in (2, 6, 60, 1000):
        assert power_of(pairs, detectable_effect(pairs)) == pytest.approx(0.8, abs=1e-6)
    assert detectable_effect(1) == math.inf


@pytest.mark.filterwarnings("error")
def test_edges_have_an_answer() -> None:
    assert pairs_needed(0.0) is None
    assert pairs_needed(math.nan) is None
    assert pairs_needed(1e-4) is None
    assert pairs_needed(math.inf) == 6
    assert power_of(1, 2.0) == 0.0
    assert power_of(10, 0.0) == pytest.approx(0.05)
    assert power_of(2, 50.0) == pytest.approx(1.0, abs=1e-4)


@given(st.integers(2, 60), st.floats(0.05, 3.0))
def test_power_grows_with_pairs(pairs: int, effect: float) -> None:
    assert power_of(pairs + 1, effect) >= power_of(pairs, effect) - 1e-9
