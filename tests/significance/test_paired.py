from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metaft.significance import paired_t_test, show_non_inferiority, wilcoxon_test

# Darwin's maize: height of cross-fertilised minus self-fertilised plants, in eighths of an
# inch (Fisher 1935, The design of experiments, section 17).
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
# Depression scores after - before (Hollander & Wolfe 1973, example 3.1).
DEPRESSION = [-0.952, 0.147, -1.022, -0.43, -0.62, -0.59, -0.49, 0.08, -0.01]
WITH_TIES_AND_ZEROS = [0.0, 0.0, 1.0, 1.0, -1.0, 2.0, 3.0, 3.0]

few_tied = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=8)
distinct = st.lists(st.integers(1, 10_000), min_size=1, max_size=30, unique=True).flatmap(
    lambda sizes: st.tuples(*(st.sampled_from((float(size), -float(size))) for size in sizes))
)


def test_t_test_of_darwins_maize() -> None:
    found = paired_t_test(MAIZE)
    assert found.statistic == pytest.approx(2.147987, abs=1e-6)  # Fisher gives 2.148
    assert found.p_value == pytest.approx(0.0497029, abs=1e-6)
    assert found.pairs == 15


def test_wilcoxon_of_depression_scores() -> None:
    found = wilcoxon_test(DEPRESSION, "less")
    assert found.statistic == 5.0
    assert found.p_value == pytest.approx(10 / 2**9)  # of 512 sign patterns, 10 sum to 5 or less


def test_wilcoxon_is_exact_with_ties_and_zeros() -> None:
    # Ranks: two zeros share 1.5 and drop out, three ones share 4, then 6 and twice 7.5.
    # W+ = 29 of 33: of 2^6 sign patterns, 1 gives 33 and 3 (one rank 4 negative) give 29.
    found = wilcoxon_test(WITH_TIES_AND_ZEROS)
    assert found.statistic == 29.0
    assert found.p_value == pytest.approx(2 * 4 / 64)
    every_sign = stats.PermutationMethod(n_resamples=np.inf)
    scipys = stats.wilcoxon(WITH_TIES_AND_ZEROS, zero_method="pratt", method=every_sign)
    assert found.p_value == pytest.approx(scipys.pvalue)


@given(distinct)
def test_wilcoxon_agrees_with_scipy_without_ties(values: tuple[float, ...]) -> None:
    for alternative in ("two-sided", "greater", "less"):
        scipys = stats.wilcoxon(values, alternative=alternative, method="exact").pvalue
        assert wilcoxon_test(values, alternative).p_value == pytest.approx(scipys)


@given(few_tied)
def test_wilcoxon_counts_every_pattern_of_signs(values: list[float]) -> None:
    ranks = stats.rankdata(np.abs(values)) * np.abs(np.sign(values))  # zeros carry no rank
    patterns = np.array(list(itertools.product((0, 1), repeat=len(values))))
    observed = ranks[np.array(values) > 0].sum()
    as_large = (patterns @ ranks >= observed).mean()
    assert wilcoxon_test(values, "greater").p_value == pytest.approx(as_large)


def test_wilcoxon_of_many_pairs_is_normal() -> None:
    values = np.random.default_rng(0).normal(0.1, 1.0, 501)
    exact = wilcoxon_test(values[:500]).p_value
    scipys = stats.wilcoxon(values[:500], method="exact").pvalue
    assert exact == pytest.approx(scipys, rel=1e-6)
    scipys = stats.wilcoxon(values, method="asymptotic").pvalue
    assert wilcoxon_test(values).p_value == pytest.approx(scipys)


def test_rounding_makes_no_difference_of_ties() -> None:
    as_ratios = [0.3 - 0.2, 0.1, 0.8 - 0.7, 0.4 - 0.6]
    assert wilcoxon_test(as_ratios) == wilcoxon_test([1.0, 1.0, 1.0, -2.0])


@pytest.mark.parametrize("test", [paired_t_test, wilcoxon_test])
@pytest.mark.filterwarnings("error")
class TestLittleToTell:
    @pytest.mark.parametrize("values", [[], [0.3], [math.nan], [math.nan, 0.3], [0.0] * 9])
    def test_p_value_is_one(self, test, values: list[float]) -> None:
        assert test(values).p_value == 1.0

    def test_values_that_are_not_finite_are_left_out(self, test) -> None:
        assert test([*MAIZE, math.nan, math.inf]) == test(MAIZE)

    def test_constant_differences_have_an_answer(self, test) -> None:
        p_values = [test([value] * 8).p_value for value in (0.1, -0.1)]
        assert p_values[0] == p_values[1] <= 2 / 2**8


def test_constant_difference_is_the_limit_of_the_t_test() -> None:
    up = [0.1 + 0.2] * 3 + [0.3] * 3  # constant but for the last bit
    assert paired_t_test(up).statistic == math.inf
    assert paired_t_test(up).p_value == 0.0
    assert paired_t_test(up, "less").p_value == 1.0


@given(st.lists(st.floats(-1e6, 1e6), max_size=20))
@pytest.mark.filterwarnings("error")
def test_tests_are_symmetric_in_sign(values: list[float]) -> None:
    turned = [-value for value in values]
    for test in (paired_t_test, wilcoxon_test):
        assert test(values).p_value == pytest.approx(test(turned).p_value)
        assert test(values, "greater").p_value == pytest.approx(test(turned, "less").p_value)
        assert 0.0 <= test(values).p_value <= 1.0


def test_non_inferiority_needs_both_tests() -> None:
    slightly_worse = np.linspace(-0.4, 0.2, 12)  # mean -0.1
    shown = show_non_inferiority(slightly_worse, margin=0.3)
    assert shown.is_shown
    assert shown.t_test == paired_t_test(slightly_worse + 0.3, "greater")
    assert shown.wilcoxon == wilcoxon_test(slightly_worse + 0.3, "greater")
    assert not show_non_inferiority(slightly_worse, margin=0.15).is_shown
    assert not show_non_inferiority([0.1] * 4, margin=0.3).is_shown  # Wilcoxon: 1/16


def test_non_inferiority_is_not_shown_at_the_margin() -> None:
    assert not show_non_inferiority([-0.3] * 10, margin=0.3).is_shown
