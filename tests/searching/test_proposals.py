from __future__ import annotations

import math

import numpy as np
import optuna
import pytest

from metaft.recipes import Recipe
from metaft.searching.proposals import propose
from metaft.searching.space import Range, SearchSpace

SPACE = SearchSpace({"learning_rate": Range(1e-4, 1e-1, is_log=True), "batch_size": (8, 16)})
BASE = Recipe(epochs=9)


def _lasts(proposal, curve: np.ndarray) -> int:
    """Return after how many epochs a run is stopped."""
    for epoch, score in enumerate(curve[:-1], 1):
        if not proposal.goes_on(epoch, score):
            return epoch
    return len(curve)


@pytest.mark.parametrize("seed", range(5))
def test_alone_asha_stops_what_optuna_stops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    study = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.SuccessiveHalvingPruner(1, 3)
    )
    proposals = propose("asha", SPACE, BASE, seed=seed)
    lengths = []
    for _ in range(40):
        curve = rng.integers(0, 12, 9) / 12  # With ties.
        curve[rng.random(9) < 0.05] = math.nan
        trial, expected = study.ask(), 9
        for epoch, score in enumerate(curve[:-1], 1):
            trial.report(score, epoch)
            if trial.should_prune():
                expected = epoch
                break
        study.tell(trial, 0.5)
        proposal = proposals.next()
        assert proposal is not None
        lengths.append(_lasts(proposal, curve))
        proposal.learn(0.5)
        assert lengths[-1] == expected
    assert {1, 3, 9} <= set(lengths)


def test_asha_compares_with_what_was_over_when_a_trial_was_asked_for() -> None:
    proposals = propose("asha", SPACE, BASE)
    first, second = proposals.next(), proposals.next()
    assert first.goes_on(1, 0.9)
    assert first.goes_on(2, 0.1)
    first.learn(0.9)
    assert second.goes_on(1, 0.2), "it was asked for before the first was over"
    assert not proposals.next().goes_on(1, 0.2)


def test_tpe_counts_what_is_open_as_bad() -> None:
    space = SearchSpace({"learning_rate": Range(0.0, 1.0)})

    def last(score: float | None) -> float:
        """Return what is proposed after a trial that is open, or had a score."""
        proposals = propose("tpe", space, BASE, seed=3)
        for _ in range(16):
            proposal = proposals.next()
            proposal.learn(-abs(proposal.recipe.learning_rate - 0.5))
        proposal = proposals.next()
        if score is not None:
            proposal.learn(score)
        return proposals.next().recipe.learning_rate

    assert last(None) == last(-9.0)
    assert last(None) != last(9.0)


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_who_learns_nothing_proposes_the_same_however_many_are_open(sampler: str) -> None:
    space = SearchSpace({"learning_rate": (1e-3, 1e-2), "batch_size": (8, 16)})
    one, other = (propose(sampler, space, BASE, seed=1) for _ in range(2))
    asked = [other.next() for _ in range(4)]
    for proposal in asked:
        alone = one.next()
        assert alone.recipe == proposal.recipe
        alone.learn(0.5)
