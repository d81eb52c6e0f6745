"""What a search tries next: a grid in a random order, or what a sampler of Optuna proposes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from metaft.errors import RecipeError
from metaft.prior.silence import silence_optuna
from metaft.recipes import Recipe
from metaft.searching.space import SearchSpace

Sampler = Literal["grid", "random", "tpe", "asha"]


@dataclass(frozen=True, slots=True)
class SearchWay:
    """A search as a method of a comparison or a study: its best trial on validation counts.

    Attributes:
        sampler: What is tried next.
        trials: How many recipes are tried.
    """

    sampler: Sampler
    trials: int


STARTUP_TRIALS = 4
"""Random trials before TPE's model, those of a warm start among them."""

KEPT_SHARE = 3
"""Successive halving goes on with one run in three, after 1, 3, 9, ... epochs."""

WORST_SCORE = 0.0
"""What a run counts that gives no score: it diverged or ran out of memory."""

_MOST_CONTRADICTIONS = 100  # In a row, before a space is taken to hold nothing else.


class Proposal(Protocol):
    """A recipe to try; is told what came of it."""

    @property
    def recipe(self) -> Recipe:
        """Return what to try."""

    def goes_on(self, epoch: int, score: float) -> bool:
        """Say after an epoch whether its run is worth the next one."""

    def learn(self, score: float) -> None:
        """Take the best validation score of the run; NaN where there is none."""


class Proposals(Protocol):
    """Where a search's recipes come from."""

    def next(self) -> Proposal | None:
        """Return what to try next; None where all was tried."""


@dataclass(frozen=True)
class _Listed:
    """A recipe that nobody learns from."""

    recipe: Recipe

    def goes_on(self, epoch: int, score: float) -> bool:
        return True

    def learn(self, score: float) -> None:
        """Nothing depends on it."""


class _Grid:
    """Recipes in a given order."""

    def __init__(self, recipes: Sequence[Recipe]) -> None:
        self._left = list(recipes)

    def next(self) -> Proposal | None:
        return _Listed(self._left.pop(0)) if self._left else None


@dataclass(frozen=True)
class _Asked:
    """A trial that a study asks for."""

    recipe: Recipe
    study: Any
    trial: Any

    def goes_on(self, epoch: int, score: float) -> bool:
        return True

    def learn(self, score: float) -> None:
        self.study.tell(self.trial, WORST_SCORE if math.isnan(score) else score)


class _Rungs:
    """Scores of the trials that are over, at the epochs after which runs are stopped."""

    def __init__(self) -> None:
        self._scores: dict[int, tuple[float, ...]] = {}

    def standing(self) -> Mapping[int, tuple[float, ...]]:
        """Return epoch -> scores, as they are now."""
        return dict(self._scores)

    def add(self, scores: Mapping[int, float]) -> None:
        """Take the scores of a trial that is over."""
        for epoch, score in scores.items():
            self._scores[epoch] = (*self._scores.get(epoch, ()), score)


@dataclass(frozen=True)
class _Halved:
    """A trial that stops when it is behind those that were over when it was asked for.

    So whether it stops does not depend on what runs beside it, nor on when that ends.

    Source: Li et al. (2020), A System for Massively Parallel Hyperparameter Tuning; alone it
    stops what Optuna's pruner stops.
    """

    asked: _Asked
    rivals: Mapping[int, tuple[float, ...]]
    rungs: _Rungs
    own: dict[int, float] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        return self.asked.recipe

    def goes_on(self, epoch: int, score: float) -> bool:
        if not _is_rung(epoch):
            return True
        if math.isnan(score):
            return False
        self.own[epoch] = score
        scores = sorted((*self.rivals.get(epoch, ()), score), reverse=True)
        return score >= scores[max(0, len(scores) // KEPT_SHARE - 1)]

    def learn(self, score: float) -> None:
        self.rungs.add(self.own)
        self.asked.learn(score)


@dataclass(frozen=True)
class _Brought:
    """A recipe from elsewhere: the study learns from it where it lies in the space."""

    recipe: Recipe
    study: Any
    space: SearchSpace

    def goes_on(self, epoch: int, score: float) -> bool:
        return True

    def learn(self, score: float) -> None:
        from optuna.trial import create_trial

        with silence_optuna():
            self.study.add_trial(
                create_trial(
                    params=self.space.place_of(self.recipe),
                    distributions=self.space.distributions(),
                    value=WORST_SCORE if math.isnan(score) else score,
                )
            )


class _Study:
    """A sampler of Optuna."""

    def __init__(
        self,
        sampler: Sampler,
        space: SearchSpace,
        base: Recipe,
        start: Sequence[Recipe],
        seed: int,
    ) -> None:
        self._space = space
        self._base = base
        self._start = list(start)
        self._study = _new_study(sampler, seed)
        self._rungs = _Rungs() if sampler == "asha" else None

    def next(self) -> Proposal | None:
        if self._start:
            return _Brought(self._start.pop(0), self._study, self._space)
        for _ in range(_MOST_CONTRADICTIONS):
            with silence_optuna():
                trial = self._study.ask(self._space.distributions())
            try:
                recipe = self._base.with_settings(_rounded(trial.params))
            except RecipeError:  # Fields that do not go together are no trial.
                self._study.tell(trial, state=_failed())
                continue
            asked = _Asked(recipe, self._study, trial)
            if self._rungs is None:
                return asked
            return _Halved(asked, self._rungs.standing(), self._rungs)
        return None


def propose(
    sampler: Sampler,
    space: SearchSpace,
    base: Recipe,
    start: Sequence[Recipe] = (),
    seed: int = 0,
) -> Proposals:
    """Return where the recipes of a search come from.

    The same arguments and the same scores, learned in the same order and with as many asked for
    in between, give the same recipes. So a search that was broken off goes on where it was when
    it is given the scores of its stored runs again. What was asked for and not learned yet
    counts with TPE as bad (the constant liar), so that it proposes something else meanwhile.

    Args:
        sampler: `grid` in a random order; `random`; `tpe`; or `asha`, random recipes of which
            those that are behind are stopped early.
        space: What is varied.
        base: All else.
        start: Recipes to try first, as they are.
        seed: Of the order and of the sampler.

    Raises:
        RecipeError: If the space is none for this sampler.
    """
    if sampler == "grid":
        recipes = list(space.grid(base))
        order = np.random.default_rng(seed).permutation(len(recipes))
        return _Grid([*start, *(recipes[at] for at in order)])
    return _Study(sampler, space, base, start, seed)


def _new_study(sampler: Sampler, seed: int) -> Any:
    import optuna

    with silence_optuna():
        if sampler == "tpe":
            chooser: Any = optuna.samplers.TPESampler(
                n_startup_trials=STARTUP_TRIALS, multivariate=True, constant_liar=True, seed=seed
            )
        else:
            chooser = optuna.samplers.RandomSampler(seed=seed)
        return optuna.create_study(
            direction="maximize", sampler=chooser, pruner=optuna.pruners.NopPruner()
        )


def _is_rung(epoch: int) -> bool:
    """Say whether an epoch is a power of the share."""
    while epoch % KEPT_SHARE == 0:
        epoch //= KEPT_SHARE
    return epoch == 1


def _rounded(params: dict[str, Any]) -> dict[str, Any]:
    """Round numbers to what a person writes."""
    return {
        name: float(f"{value:.3g}") if isinstance(value, float) else value
        for name, value in params.items()
    }


def _failed() -> Any:
    from optuna.trial import TrialState

    return TrialState.FAIL
