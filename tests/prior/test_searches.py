from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metaft.prior.chosen import full_budgets
from metaft.prior.rivals import METHODS
from metaft.prior.searches import _halve, _portfolio, _rungs, halving_search, portfolio_search


@pytest.fixture
def left(telling):
    return telling.left_out[3]


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_every_trial_is_paid_for(telling, left, name: str) -> None:
    table = telling.table
    full = full_budgets(table, left.row)
    seconds = table.run_seconds[left.row, full]
    seconds = np.nan_to_num(seconds, nan=float(np.nanmean(seconds)))  # one of them failed
    for trials in (4, 8):
        chosen = METHODS[f"{name}-{trials}"](table, left)
        assert chosen.runs == trials
        assert np.sort(seconds)[:trials].sum() < chosen.run_seconds + 1e-9
        assert set(chosen.cells.tolist()) <= set(full.tolist())


def test_random_search_costs_so_many_mean_runs(telling, left) -> None:
    table = telling.table
    table = dataclasses.replace(table, run_seconds=np.nan_to_num(table.run_seconds, nan=7.0))
    mean = table.run_seconds[left.row, full_budgets(table, left.row)].mean()
    chosen = METHODS["random-4"](table, left)
    assert chosen.run_seconds == pytest.approx(4 * mean, rel=0.1)


def test_more_trials_find_better_recipes(telling) -> None:
    def points(name: str) -> float:
        table, chooser = telling.table, METHODS[name]
        return np.mean(
            [table.test[s.row, chooser(table, s).cells].mean() for s in telling.left_out]
        )

    assert points("random-8") > points("random-4")
    assert points("portfolio-4") > points("best-average")
    assert points("cost-aware-9") > points("cost-aware-3")


def test_more_trials_than_recipes_try_all(telling, left) -> None:
    table, row = telling.table, left.row
    full = full_budgets(table, row)
    best = full[np.argmax(table.validation[row, full])]
    for name in ("random-16", "tpe-16"):
        chosen = METHODS[name](table, left)
        assert set(chosen.cells.tolist()) == {best}
        assert chosen.runs == len(full) < 16


def test_validation_picks_and_test_does_not(telling, left) -> None:
    """Whatever the test scores are, a search ends with the same recipes."""
    other = dataclasses.replace(telling.table, test=100.0 - telling.table.test)
    for name in ("random-4", "tpe-4", "cost-aware-3", "cost-aware-9", "portfolio-4"):
        expected = METHODS[name](telling.table, left).cells.tolist()
        assert METHODS[name](other, left).cells.tolist() == expected


def test_searches_need_validation_scores(telling, left) -> None:
    unknown = np.full_like(telling.table.validation, np.nan)
    table = dataclasses.replace(telling.table, validation=unknown)
    for name in ("random-4", "tpe-4", "cost-aware-3", "portfolio-4"):
        assert METHODS[name](table, left) is None


def test_rungs_end_with_all_epochs() -> None:
    assert _rungs(3, 6) == [1, 6]
    assert _rungs(9, 6) == [1, 2, 6]
    assert _rungs(8, 6) == [1, 2, 6]
    assert _rungs(27, 27) == [1, 3, 9, 27]
    assert _rungs(1, 6) == [1, 6]
    assert _rungs(9, 1) == [1, 1, 1]


@pytest.fixture(scope="module")
def curves(make_world):
    """Return a table of one block with 9 recipes of 6 epochs, none of which fails."""
    from metaft.prior.table import tabulate

    table = tabulate(make_world(1, recipes=9, epochs=6).traces).take([0])
    families, epochs = table.space.families, table.space.epochs
    recorded = np.isfinite(table.test)
    table.run_seconds[:] = np.where(recorded, 1.0 + 10.0 * epochs, np.nan)
    table.validation[:] = np.where(recorded, families + 0.1 * epochs, np.nan)
    return table


def test_halving_continues_what_it_keeps(curves) -> None:
    """9 recipes x 1 epoch, 3 x 1 more, 1 x 4 more; encoding the rows is paid once each."""
    full = full_budgets(curves, 0)
    assert len(full) == 9
    chosen = _halve(curves, 0, full[None])
    assert chosen.runs == pytest.approx((9 * 1 + 3 * 1 + 1 * 4) / 6)
    assert chosen.run_seconds == pytest.approx(9 * 11 + 3 * 10 + 1 * 40)
    assert curves.space.families[chosen.cells[0]] == curves.space.families[full].max()
    assert curves.space.epochs[chosen.cells[0]] == 6


def test_halving_drops_late_bloomers(curves) -> None:
    """The recipe that is best in the end, but last after an epoch, is not found."""
    table = curves.take([0])
    space, full = table.space, full_budgets(table, 0)
    late = space.families == space.families[full].max()
    table.validation[0, late & (space.epochs == 1)] = -5.0
    winner = _halve(table, 0, full[None]).cells[0]
    assert space.families[winner] == np.sort(space.families[full])[-2]


def test_halving_looks_at_so_many_random_recipes(telling, left) -> None:
    chosen = halving_search(3)(telling.table, left)
    assert chosen.runs == pytest.approx((3 * 1 + 1 * 1) / 2)  # budgets of two epochs
    assert len(set(chosen.cells.tolist())) > 2


def test_a_portfolio_complements_itself() -> None:
    """The second is what helps where the first does not, not the second best on average."""
    effects = np.array([[5.0, 4.9, 0.0], [5.0, 4.9, 0.0], [0.0, 0.5, 3.0]])
    assert _portfolio(effects, 2).tolist() == [1, 2]
    assert _portfolio(effects, 9).tolist() == [1, 2, 0]
    effects[2, 2] = np.nan
    assert _portfolio(effects, 2).tolist() == [1, 0]


def test_blocks_that_have_none_of_the_recipes_say_nothing_of_a_portfolio() -> None:
    effects = np.array([[0.0, 4.9, 5.0], [np.nan, np.nan, np.nan]])
    assert _portfolio(effects, 1).tolist() == [2]
    assert _portfolio(effects[1:], 2).tolist() == []


def test_a_portfolio_of_one_is_best_average(telling) -> None:
    for seen in telling.left_out:
        one = portfolio_search(1)(telling.table, seen)
        average = METHODS["best-average"](telling.table, seen)
        assert one.cells.tolist() == average.cells.tolist()
        np.testing.assert_equal(one.runs, average.runs)
