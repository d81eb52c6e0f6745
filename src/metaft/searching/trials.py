"""Trials: what a search tried, what it found, and what stored runs say of a proposal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metaft.errors import RunFailedError
from metaft.finetuning.curve import best_epoch_of
from metaft.finetuning.outcome import EpochRecord, Status
from metaft.recipes import Recipe
from metaft.searching.proposals import Proposal
from metaft.traces.store import TraceStore
from metaft.traces.trace import Trace


@dataclass(frozen=True, slots=True)
class Trial:
    """A recipe that was tried.

    Attributes:
        recipe: What was tried, with as many epochs as were made or looked at.
        wanted_epochs: What it would have made had it not been stopped.
        status: How its run ended.
        validation: Best score on the validation rows; NaN where there is none.
        test: Score on the test rows after the same epoch; NaN likewise.
        best_epoch: That epoch; 0 likewise.
        wall_seconds: Of the run, now or when it was stored.
        was_stored: Whether it was read from the store instead of being run.
        trace_id: Key of its trace.
    """

    recipe: Recipe
    wanted_epochs: int
    status: Status
    validation: float
    test: float
    best_epoch: int
    wall_seconds: float
    was_stored: bool
    trace_id: str

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped for being behind the others."""
        return self.status == "ok" and self.recipe.epochs < self.wanted_epochs


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        trials: In the order in which they were proposed.
        best: The one with the best validation score of those that ended well, the earliest of
            equals; where none ended well, of all that gave a score.
        is_complete: Whether all trials were made that were asked for.
    """

    trials: tuple[Trial, ...]
    best: Trial
    is_complete: bool


OnTrial = Callable[[Trial], None]


def best_of(trials: Sequence[Trial]) -> Trial:
    """Return the trial that a search chose; see `SearchResult`.

    Raises:
        RunFailedError: If no trial gave a score.
    """
    scored = [trial for trial in trials if trial.best_epoch]
    if not scored:
        raise RunFailedError(
            "no trial gave a score: all diverged, ran out of memory or failed, or the time limit "
            "came before the first. Search lower learning rates."
        )
    # A recipe that breaks off is no recipe to go on with, whatever it had reached before.
    ended_well = [trial for trial in scored if trial.status == "ok"]
    return max(ended_well or scored, key=lambda trial: trial.validation)


@dataclass(frozen=True, slots=True)
class StoredRuns:
    """What a store says of the recipes that a search proposes.

    Attributes:
        store: Where the runs are.
        key_of: Recipe -> key of the trace of its run in this search.
    """

    store: TraceStore
    key_of: Callable[[Recipe], str]

    def answer(self, proposal: Proposal) -> Trial | None:
        """Return the trial of a proposal; None where a run of it is to be made."""
        stored = self._longest(proposal.recipe)
        if stored is None:
            return None
        epochs, is_stopped = _epochs_worth(proposal, stored)
        is_whole = stored.recipe.epochs == proposal.recipe.epochs
        if is_stopped or is_whole or stored.status != "ok":
            return _trial_of(stored, proposal.recipe, epochs)
        return None

    def stop(self, proposal: Proposal, metric: str) -> Callable[[EpochRecord], bool]:
        """Return what says after each epoch of a proposal's run whether it goes on.

        Epochs that are stored were not enough, so a new run makes more of them in any case.
        """
        stored = self._longest(proposal.recipe)
        known_epochs = len(stored.curve) if stored else 0
        return lambda record: (
            record.epoch <= known_epochs or _is_worth_more(proposal, record, metric)
        )

    def _longest(self, recipe: Recipe) -> Trace | None:
        """Return the stored run of a recipe, or of its first epochs, that made the most."""
        budgets = [recipe.epochs] if recipe.depends_on_budget else range(recipe.epochs, 0, -1)
        keys = [self.key_of(recipe.truncated(epochs)) for epochs in budgets]
        stored = {trace.trace_id: trace for trace in self.store.traces(keys)}
        return next((stored[key] for key in keys if key in stored), None)


def _is_worth_more(proposal: Proposal, record: EpochRecord, metric: str) -> bool:
    return record.epoch == proposal.recipe.epochs or proposal.goes_on(
        record.epoch, record.validation[metric]
    )


def _epochs_worth(proposal: Proposal, trace: Trace) -> tuple[int, bool]:
    """Return how many epochs of a stored run are looked at, and whether it is stopped there."""
    for record in trace.curve:
        if not _is_worth_more(proposal, record, trace.metric):
            return record.epoch, True
    return len(trace.curve), False


def _trial_of(trace: Trace, wanted: Recipe, epochs: int) -> Trial:
    """Return what the first epochs of a run say of a recipe."""
    curve, metric = trace.curve[:epochs], trace.metric
    best = best_epoch_of(curve, metric)
    # A run that ran out of patience is whole, and its recipe would end it there again.
    may_be_cut = not wanted.depends_on_budget and wanted.early_stopping_patience is None
    is_cut = trace.status == "ok" and may_be_cut
    return Trial(
        recipe=wanted.truncated(epochs) if is_cut else wanted,
        wanted_epochs=wanted.epochs,
        status=trace.status,
        validation=curve[best - 1].validation[metric] if best else math.nan,
        test=curve[best - 1].test[metric] if best else math.nan,
        best_epoch=best,
        wall_seconds=trace.costs.wall_seconds,
        was_stored=True,
        trace_id=trace.trace_id,
    )
