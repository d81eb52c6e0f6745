from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from metaft.prior.comparisons import (
    compare_methods,
    compare_race,
    compare_slices,
    rank_methods,
)
from metaft.prior.judging import Judged
from metaft.prior.margins import MARGIN_POINTS
from metaft.significance import holm

_TASKS = tuple(f"task{at:02d}" for at in range(20))


def _judged(**gains: float) -> Judged:
    """Return methods that are so many points better than the first one, with noise."""
    rng = np.random.default_rng(1)
    level = rng.uniform(60, 90, 20)
    figures = {}
    for name, gain in gains.items():
        points = level + gain + rng.normal(size=20)
        regret = (level + 5.0 - points) / 5.0
        figures[name.replace("_", "-")] = {"points": points, "normalised_regret": regret}
    return Judged(_TASKS, figures)


@pytest.fixture(scope="module")
def judged() -> Judged:
    return _judged(
        plain=-4.0, best_average=0.0, best_average_of_all=-1.0, learned=2.0, random_8=2.0
    )


def test_tests_agree_with_scipy(judged) -> None:
    found = compare_methods(judged)
    names = ["plain", "best-average", "best-average-of-all", "random-8"]
    assert list(found) == [f"learned - {name}" for name in names]
    t_tests, wilcoxons = [], []
    for name in names:
        ours, theirs = (judged.figures[method]["points"] for method in ("learned", name))
        t_tests.append(stats.ttest_rel(ours, theirs).pvalue)
        wilcoxons.append(stats.wilcoxon(ours, theirs, method="exact").pvalue)
        points = found[f"learned - {name}"]["points"]
        assert points["mean"] == pytest.approx((ours - theirs).mean())
        assert points["mean_low"] < points["mean"] < points["mean_high"]
        assert points["shift_low"] < points["shift"] < points["shift_high"]
        assert points["t_test_p"] == pytest.approx(t_tests[-1])
    for at, name in enumerate(names):
        points = found[f"learned - {name}"]["points"]
        assert points["t_test_p_holm"] == pytest.approx(holm(t_tests)[at])
        assert points["wilcoxon_p_holm"] == pytest.approx(holm(wilcoxons)[at])


def test_the_race_is_a_family_of_its_own(judged) -> None:
    raced = _judged(plain=-4.0, learned=2.0, learned_race=3.0, random_8=2.0, random_4=1.0)
    found = compare_race(raced)
    assert list(found) == [f"learned-race - {name}" for name in ("learned", "plain", "random-8")]
    raw = [both["points"]["t_test_p"] for both in found.values()]
    corrected = [both["points"]["t_test_p_holm"] for both in found.values()]
    assert corrected == pytest.approx(list(holm(raw)))
    assert compare_race(judged) == {}


def test_above_zero_is_better_in_every_measure(judged) -> None:
    both = compare_methods(judged)["learned - plain"]
    assert both["points"]["mean"] > 0
    assert both["normalised_regret_saved"]["mean"] == pytest.approx(both["points"]["mean"] / 5)
    assert both["normalised_regret_saved"]["win_tie_loss"][0] > 15


def test_no_worse_is_shown_by_both_tests(judged) -> None:
    found = compare_methods(judged)
    assert found["learned - best-average"]["no_worse"]["is_shown"]
    equal = found["learned - random-8"]["no_worse"]
    assert equal["margin_points"] == MARGIN_POINTS
    assert equal["is_shown"] == (max(equal["t_test_p"], equal["wilcoxon_p"]) <= 0.05)


def test_cost_is_compared_with_plain_alone() -> None:
    found = compare_methods(_judged(plain=0.0, learned_cost=0.1, random_4=1.0))
    assert list(found) == ["learned-cost - plain"]


def test_ranks(judged) -> None:
    ranks = rank_methods(judged)
    mean = ranks["mean_ranks"]
    assert sum(mean.values()) == pytest.approx(5 * 6 / 2)
    assert max(mean, key=mean.get) == "plain"
    assert ranks["friedman_p"] < 0.001
    # Demsar (2006), table 5: q for five methods is 2.728.
    expected = 2.728 * np.sqrt(5 * 6 / (6 * 20))
    assert ranks["critical_difference"] == pytest.approx(expected, rel=1e-3)
    assert {"learned", "random-8"} <= {*ranks["not_told_apart"][0]}
    assert rank_methods(_judged(plain=0.0, learned=1.0)) == {}


def test_slices_are_one_family(judged) -> None:
    """Holm corrects for the slices; one without a rival is none of them."""
    slices = [judged.take(range(8)), _judged(plain=0.0, learned=1.0), judged.take(range(8, 20))]
    first, nothing, second = compare_slices(slices)
    assert nothing == {}
    assert first["rival"] == second["rival"] == "best-average"
    expected = holm([first["points"]["t_test_p"], second["points"]["t_test_p"]])
    assert [first["points"]["t_test_p_holm"], second["points"]["t_test_p_holm"]] == expected
