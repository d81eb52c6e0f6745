from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metaft.significance import (
    compare_ranks,
    critical_difference,
    holm,
    iman_davenport,
    indistinct_groups,
    wilcoxon_test,
)

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


class TestDemsarsExample:
    """What Demsar (2006), section 3, says of his table 6."""

    def test_ranks_and_critical_differences(self) -> None:
        found = compare_ranks(DEMSAR)
        assert found.mean_ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)
        assert found.critical_difference == pytest.approx(1.25, abs=5e-3)  # q = 2.569
        assert critical_difference(4, 14, alpha=0.1) == pytest.approx(1.12, abs=5e-3)

    def test_friedman_and_iman_davenport(self) -> None:
        # His chi-square of 9.28 leaves out the correction for ties that SciPy makes.
        ranks = np.array(compare_ranks(DEMSAR).mean_ranks)
        untied = 12 * 14 / (4 * 5) * (np.sum(ranks**2) - 4 * 5**2 / 4)
        assert untied == pytest.approx(9.28, abs=5e-3)
        found = iman_davenport(untied, methods=4, datasets=14)
        assert found.statistic == pytest.approx(3.69, abs=5e-3)
        assert stats.f.isf(0.05, 3, 39) == pytest.approx(2.85, abs=5e-3)  # his critical value
        assert found.p_value == pytest.approx(stats.f.sf(found.statistic, 3, 39))

    def test_groups_of_his_figure(self) -> None:
        ranks = compare_ranks(DEMSAR).mean_ranks
        all_four = [(3, 1, 2, 0)]  # at .05 the test is too weak to tell any two apart
        assert list(compare_ranks(DEMSAR).groups) == all_four
        # Figure 1 (a): at .1 C4.5 is worse than +m and +m+cf, and nothing is known of +cf.
        assert indistinct_groups(ranks, critical_difference(4, 14, 0.1)) == [(3, 1, 2), (2, 0)]

    def test_holm_against_the_control(self) -> None:
        # z over a standard error of .488 against C4.5: p = .016, .019 and .607.
        ranks = np.array(compare_ranks(DEMSAR).mean_ranks)
        z = (ranks[0] - ranks[[3, 1, 2]]) / np.sqrt(4 * 5 / (6 * 14))
        p_values = [float(p_value) for p_value in 2 * stats.norm.sf(z)]
        assert p_values == pytest.approx([0.016, 0.019, 0.607], abs=2e-3)
        assert [p_value < 0.05 for p_value in holm(p_values)] == [True, True, False]

    def test_wilcoxon_of_his_first_two_columns(self) -> None:
        # He shares the ranks of two zeros out, 1.5 to each side: R+ = 93, R- = 12, p < .05.
        difference = np.subtract(*np.array(DEMSAR).T[[1, 0]])
        found = wilcoxon_test(difference)
        assert found.statistic + 1.5 == 93.0
        assert wilcoxon_test(-difference).statistic + 1.5 == 12.0
        assert found.p_value < 0.05


def test_friedman_and_iman_davenport_agree_with_other_ways() -> None:
    found = compare_ranks(DEMSAR)
    columns = np.array(DEMSAR).T
    scipys = stats.friedmanchisquare(*columns)
    assert found.friedman.statistic == pytest.approx(scipys.statistic)
    assert found.friedman.p_value == pytest.approx(scipys.pvalue)
    # Corrected for ties, Iman and Davenport's F is that of an analysis of variance of the ranks.
    ranks = stats.rankdata(-np.array(DEMSAR), axis=1)
    between = 14 * np.sum((ranks.mean(axis=0) - 2.5) ** 2)
    within = np.sum((ranks - 2.5) ** 2) - between
    assert found.iman_davenport.statistic == pytest.approx((between / 3) / (within / 39))


def test_means_that_are_equal_but_for_rounding_are_ties() -> None:
    """The mean of 200 equal draws may lie a last bit beside the one that was drawn."""
    exact = np.array([0.1, 0.3, 0.7, 0.9, 1.1])
    averaged = np.array([np.full(200, value).mean() for value in exact])
    assert (averaged != exact).any()
    found = compare_ranks(100 * np.stack([exact, averaged, exact - 0.05], axis=1))
    assert found.mean_ranks == (1.5, 1.5, 3.0)


def test_groups_are_the_largest_and_hold_two_or_more() -> None:
    ranks = [3.0, 1.0, 1.5, 4.0, 2.2]
    assert indistinct_groups(ranks, 1.0) == [(1, 2), (2, 4), (4, 0), (0, 3)]
    assert indistinct_groups(ranks, 1.2) == [(1, 2, 4), (4, 0), (0, 3)]
    assert indistinct_groups(ranks, 0.4) == []
    assert indistinct_groups(ranks, 9.0) == [(1, 2, 4, 0, 3)]
    assert indistinct_groups([2.0, 2.0, 2.0], 0.0) == [(0, 1, 2)]


@pytest.mark.filterwarnings("error")
class TestLittleToTell:
    def test_no_dataset(self) -> None:
        found = compare_ranks(np.empty((0, 3)))
        assert found.friedman.p_value == 1.0
        assert found.iman_davenport.p_value == 1.0
        assert found.critical_difference == math.inf
        assert found.groups == ()

    def test_all_methods_alike(self) -> None:
        found = compare_ranks(np.full((5, 3), 0.8))
        assert found.friedman.p_value == found.iman_davenport.p_value == 1.0
        assert found.mean_ranks == (2.0, 2.0, 2.0)

    def test_all_datasets_alike(self) -> None:
        found = compare_ranks([[0.7, 0.8, 0.9]] * 6)
        assert found.friedman.statistic == pytest.approx(12.0)
        assert found.iman_davenport.statistic == math.inf
        assert found.iman_davenport.p_value == 0.0

    def test_unknown_scores_leave_the_dataset_out(self) -> None:
        assert compare_ranks([*DEMSAR, [0.1, 0.2, math.nan, 0.3]]) == compare_ranks(DEMSAR)

    def test_two_methods_are_refused(self) -> None:
        with pytest.raises(ValueError, match="3 methods or more"):
            compare_ranks([[0.1, 0.2], [0.3, 0.4]])
