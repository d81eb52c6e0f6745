from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metaft.errors import PriorError
from metaft.prior.choice import Limits, rank_cells
from metaft.prior.outlook import Outlook
from metaft.prior.profiles import Profile
from metaft.prior.space import Space
from metaft.recipes import PLAIN, Recipe

FAST = Recipe(learning_rate=3e-4, frozen_fraction=0.5)
STEADY = Recipe(learning_rate=1e-4)


@pytest.fixture
def space() -> Space:
    return Space.of([PLAIN.extended(4), FAST.extended(4), STEADY.extended(4)])


def _outlook(space: Space, effects: dict[Recipe, list[float]], **changes) -> Outlook:
    """Give families the effects of their epochs 1 to 4; seconds are 10 an epoch, 5 if frozen."""
    average = np.zeros(len(space))
    for recipe, values in effects.items():
        family = space.families[space.cells.index(recipe)]
        for epoch, value in enumerate(values, start=1):
            average[(space.families == family) & (space.epochs == epoch)] = value
    frozen = np.array([cell.frozen_fraction > 0 for cell in space.cells])
    facts = {
        "average": average,
        "is_recorded": np.ones(len(space), dtype=bool),
        "pooled": _sure(average),
        "surrogate": _sure(-average),
        "level": 80.0,
        "plateau": np.arange(len(space)),
        "training_seconds": space.epochs * 10.0,
        "run_seconds": space.epochs * np.where(frozen, 5.0, 10.0),
        "peak_memory_mib": np.where(frozen, 500.0, 1000.0),
        "failure": np.zeros(len(space)),
        "distances": {"near": 1.0},
    }
    return Outlook(**{**facts, **changes})


def _sure(effects: np.ndarray) -> Profile:
    nothing = np.zeros(len(effects))
    return Profile(effects, excess=nothing, spread=nothing[:, None], at_stake=nothing)


EFFECTS = {PLAIN: [0, 1, 2, 2.1], FAST: [1, 2, 2.05, 2.0], STEADY: [1, 3, 3.1, 3.15]}


def _best(space, outlook, goal="score", weight=0.0, limits=Limits()):  # noqa: B008
    order = rank_cells(outlook, space, weight=weight, goal=goal, allowed=limits.allow(outlook))
    return [space.cells[cell] for cell in order]


def test_score_takes_the_earliest_epoch_that_is_as_good(space) -> None:
    ranked = _best(space, _outlook(space, EFFECTS))
    assert (ranked[0].learning_rate, ranked[0].epochs) == (1e-4, 2)
    assert [recipe.learning_rate for recipe in ranked] == [1e-4, 5e-5, 3e-4]


def test_a_plateau_is_preferred_to_a_peak(space) -> None:
    outlook = _outlook(space, EFFECTS)
    is_steady = np.array([cell.learning_rate == STEADY.learning_rate for cell in space.cells])
    peaked = dataclasses.replace(outlook.pooled, at_stake=np.where(is_steady, 2.0, 0.1))
    chosen = _best(space, dataclasses.replace(outlook, pooled=peaked))[0]
    assert chosen.learning_rate == PLAIN.learning_rate


def test_cost_takes_the_cheapest_that_is_no_worse_than_plain(space) -> None:
    best = _best(space, _outlook(space, EFFECTS), goal="cost")[0]
    assert (best.frozen_fraction, best.epochs) == (0.5, 2)


def test_cost_can_always_take_plain(space) -> None:
    worse = {PLAIN: [0, 1, 9, 2], FAST: [1, 1, 1, 1], STEADY: [2, 3, 3, 3]}
    assert _best(space, _outlook(space, worse), goal="cost") == [PLAIN]


def test_plain_is_no_worse_than_itself_even_on_a_slope(space) -> None:
    effects = {PLAIN: [0, 1, 2, 2], FAST: [0, 0, 0, 0], STEADY: [0, 0, 0, 5]}
    outlook = _outlook(space, effects)
    is_plain = np.array([cell.learning_rate == PLAIN.learning_rate for cell in space.cells])
    on_a_slope = dataclasses.replace(outlook.pooled, at_stake=np.where(is_plain, 1.0, 0.0))
    sloping = dataclasses.replace(outlook, pooled=on_a_slope)
    assert _best(space, sloping, goal="cost")[0] == PLAIN
    assert _best(space, sloping)[0].learning_rate == STEADY.learning_rate


def _in_doubt(space: Space, cells: np.ndarray) -> Outlook:
    """Some cells may all be half a point better or worse than the others."""
    average = _outlook(space, EFFECTS).average
    spread = np.where(cells, 0.5, 0.0)[:, None]
    return _outlook(space, EFFECTS, pooled=dataclasses.replace(_sure(average), spread=spread))


def test_cost_takes_nothing_that_may_be_overrated(space) -> None:
    frozen = np.array([cell.frozen_fraction > 0 for cell in space.cells])
    best = _best(space, _in_doubt(space, frozen), goal="cost")[0]
    assert (best.learning_rate, best.epochs) == (1e-4, 2)


def test_score_is_not_shortened_in_doubt(space) -> None:
    best = _best(space, _in_doubt(space, space.epochs == 2))[0]
    assert (best.learning_rate, best.epochs) == (1e-4, 3)


def test_cost_is_never_dearer_than_score(space) -> None:
    only_plain_is_sure = np.arange(len(space)) != space.plain
    outlook = _in_doubt(space, only_plain_is_sure)
    assert _best(space, outlook, goal="cost")[0] in (_best(space, outlook)[0], PLAIN)


def test_failing_has_a_price(space) -> None:
    risky = np.array([0.3 if cell.learning_rate == 1e-4 else 0.0 for cell in space.cells])
    assert _best(space, _outlook(space, EFFECTS, failure=risky))[0].learning_rate != 1e-4


def test_weight_turns_to_the_surrogate(space) -> None:
    assert _best(space, _outlook(space, EFFECTS), weight=1.0)[0].learning_rate == 5e-5


def test_limits_are_kept(space) -> None:
    outlook = _outlook(space, EFFECTS)
    assert _best(space, outlook, limits=Limits(seconds=10.0))[0].epochs == 2  # half frozen
    assert all(r.frozen_fraction for r in _best(space, outlook, limits=Limits(memory_mib=600)))


def test_limits_that_nothing_keeps_are_refused(space) -> None:
    outlook = _outlook(space, EFFECTS)
    with pytest.raises(PriorError, match=r"no recipe fits into 2 seconds: .* 5 seconds"):
        Limits(seconds=2.0).allow(outlook)
    with pytest.raises(PriorError, match=r"into 100 MiB.*--max-memory"):
        Limits(memory_mib=100.0).allow(outlook)
    with pytest.raises(PriorError, match="MiB"):  # each fits alone, but nothing fits both
        Limits(seconds=5.0, memory_mib=400.0).allow(outlook)
