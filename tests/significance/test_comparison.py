from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaft.significance import (
    bootstrap_interval,
    compare_paired,
    count_wins,
    effect_size,
    hodges_lehmann,
    paired_t_test,
    wilcoxon_test,
)

scores = st.lists(st.tuples(*[st.integers(0, 100).map(float)] * 2), min_size=2, max_size=12)


def test_comparison_gathers_every_measure() -> None:
    learned, plain = np.array([82.0, 75.0, 91.0, 60.5]), np.array([80.0, 75.5, 88.0, 60.0])
    found = compare_paired(learned, plain, tie=0.5)
    differences = learned - plain
    assert found.mean_difference == pytest.approx(1.25)
    assert found.t_test == paired_t_test(differences)
    assert found.wilcoxon == wilcoxon_test(differences)
    assert found.effect_size == effect_size(differences)
    assert (found.shift, found.shift_interval) == hodges_lehmann(differences)
    assert found.mean_interval == bootstrap_interval(differences)
    assert found.win_tie_loss == count_wins(differences, tie=0.5)


@given(scores)
@pytest.mark.filterwarnings("error")
def test_swapping_the_methods_turns_the_signs(pairs: list[tuple[float, float]]) -> None:
    first, second = np.array(pairs).T
    found, swapped = compare_paired(first, second), compare_paired(second, first)
    assert swapped.mean_difference == pytest.approx(-found.mean_difference)
    assert swapped.shift == pytest.approx(-found.shift)
    assert swapped.effect_size == pytest.approx(-found.effect_size)
    assert swapped.wilcoxon.p_value == pytest.approx(found.wilcoxon.p_value)
    assert swapped.t_test.p_value == pytest.approx(found.t_test.p_value)
    assert swapped.win_tie_loss == dataclasses.replace(
        found.win_tie_loss, wins=found.win_tie_loss.losses, losses=found.win_tie_loss.wins
    )


@pytest.mark.filterwarnings("error")
def test_unknown_scores_are_dropped_and_counted() -> None:
    found = compare_paired([1.0, math.nan, math.inf, 3.0], [0.0, 1.0, math.inf, 1.0])
    assert (found.pairs, found.dropped) == (2, 2)
    assert found.mean_difference == 1.5


@pytest.mark.filterwarnings("error")
def test_no_pairs_have_an_answer() -> None:
    found = compare_paired([], [])
    assert (found.pairs, found.t_test.p_value, found.wilcoxon.p_value) == (0, 1.0, 1.0)
    assert math.isnan(found.mean_difference)
