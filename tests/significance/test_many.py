from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metaft.significance import compare_ranks, holm

# Demsar (2006), table 6: AUC of C4.5, C4.5+m, C4.5+cf, C4.5+m+cf on 14 datasets.
DEMSAR = [
    [0.763, 0.768, 0.771, 0.798],
    [0.599, 0.591, 0.590, 0.569],
    [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898],
    [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685],
    [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000],
    [0.940, 0.962, 0.965, 0.962],
    [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975],
    [0.957, 0.978, 0.946, 0.970],
]

p_values = st.lists(st.floats(0.0, 1.0), max_size=10)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([math.nan, 0.01]) == [1.0, 0.02]


@given(p_values, st.randoms())
def test_holm_keeps_order_and_never_lowers(values: list[float], random) -> None:
    adjusted = holm(values)
    for raised, value in zip(adjusted, values, strict=True):
        assert value <= raised <= min(1.0, value * len(values))
    places = list(range(len(values)))
    random.shuffle(places)
    shuffled = holm([values[place] for place in places])
    assert shuffled == [adjusted[place] for place in places]


def test_ranks_of_demsars_table() -> None:
    found = compare_ranks(DEMSAR)
    assert found.mean_ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)  # q = 2.569
    columns = np.array(DEMSAR).T
    assert found.friedman.statistic == pytest.approx(stats.friedmanchisquare(*columns).statistic)
    assert compare_ranks(DEMSAR, alpha=0.1).critical_difference == pytest.approx(1.12, abs=5e-3)


@pytest.mark.filterwarnings("error")
class TestLittleToTell:
    def test_no_dataset(self) -> None:
        found = compare_ranks(np.empty((0, 3)))
        assert found.friedman.p_value == 1.0
        assert found.critical_difference == math.inf

    def test_all_methods_alike(self) -> None:
        found = compare_ranks(np.full((5, 3), 0.8))
        assert found.friedman.p_value == 1.0
        assert found.mean_ranks == (2.0, 2.0, 2.0)

    def test_unknown_scores_leave_the_dataset_out(self) -> None:
        assert compare_ranks([*DEMSAR, [0.1, 0.2, math.nan, 0.3]]) == compare_ranks(DEMSAR)

    def test_two_methods_are_refused(self) -> None:
        with pytest.raises(ValueError, match="3 methods or more"):
            compare_ranks([[0.1, 0.2], [0.3, 0.4]])
