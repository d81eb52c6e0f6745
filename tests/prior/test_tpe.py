from __future__ import annotations

import numpy as np
import optuna
import pytest

from metaft.prior.chosen import full_budgets
from metaft.prior.tpe import REPETITIONS, TRIALS, _orders, _places, tpe_search

_LINE = tuple((at / 29,) for at in range(30))
_VALUES = tuple(-abs(at - 21.0) for at in range(30))


def test_it_learns_where_good_recipes_lie() -> None:
    """On a line with one peak, 16 trials of TPE come closer than 16 random ones."""
    tried = _orders(_LINE, _VALUES, 0)[:, : TRIALS[2]]
    found = np.array(_VALUES)[tried].max(1).mean()
    rng = np.random.default_rng(0)
    random = [np.array(_VALUES)[rng.permutation(30)[: TRIALS[2]]].max() for _ in range(2000)]
    assert found > np.mean(random) / 2


def test_it_tries_everything_once() -> None:
    orders = _orders(_LINE, _VALUES, 1)
    assert orders.shape == (REPETITIONS, 30)
    assert all(sorted(order) == list(range(30)) for order in orders.tolist())


def test_studies_differ_and_can_be_repeated() -> None:
    first = _orders(_LINE, _VALUES, 2)
    assert len({tuple(order[:4]) for order in first.tolist()}) > 1
    _orders.cache_clear()
    np.testing.assert_array_equal(first, _orders(_LINE, _VALUES, 2))
    assert (first != _orders(_LINE, _VALUES, 3)).any()


def test_recipes_lie_in_a_box(telling) -> None:
    table = telling.table
    places = np.array(_places(table, 0, full_budgets(table, 0)))
    np.testing.assert_allclose(places.min(0), 0.0)
    np.testing.assert_allclose(places.max(0), 1.0)
    assert len(np.unique(places, axis=0)) == len(places)


def test_nothing_is_printed(telling, capfd: pytest.CaptureFixture[str]) -> None:
    _orders.cache_clear()
    verbosity = optuna.logging.get_verbosity()
    tpe_search(4)(telling.table, telling.left_out[0])
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == verbosity
