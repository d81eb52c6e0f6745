"""search: try recipes on one task, and keep the best on its validation rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metaft.backbones.backbone import Backbone
from metaft.errors import RecipeError, RunFailedError
from metaft.finetuning.curve import best_epoch_of
from metaft.finetuning.device import Device
from metaft.finetuning.fitness import check_fit
from metaft.finetuning.outcome import EpochRecord, Status
from metaft.recipes import Recipe
from metaft.searching.proposals import Proposal, Sampler, propose
from metaft.searching.space import Range, SearchSpace
from metaft.tasks.split import subsample
from metaft.tasks.task import Task
from metaft.traces.bench import Bench
from metaft.traces.store import TraceStore
from metaft.traces.trace import TEST_ROWS, VALIDATION_ROWS, PlannedRun, Trace, trace_id_of


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
        trials: In the order in which they were tried.
        best: The one with the best validation score, the earliest of equals.
        is_complete: Whether all trials were made that were asked for.
    """

    trials: tuple[Trial, ...]
    best: Trial
    is_complete: bool


OnTrial = Callable[[Trial], None]


def search(
    task: Task,
    backbone: Backbone,
    store: TraceStore,
    *,
    sampler: Sampler,
    space: SearchSpace,
    trials: int,
    base: Recipe,
    start: Sequence[Recipe] = (),
    train_rows: int | None = None,
    time_limit_seconds: float | None = None,
    cache_limit_bytes: int | None = None,
    device: Device = "auto",
    on_trial: OnTrial | None = None,
) -> SearchResult:
    """Try recipes one after the other, each stored as its run ends.

    What is in the store is not run again, so the same call goes on after a Ctrl-C, and finds
    what others recorded of the same recipes.

    Args:
        task: Whole; its rows are sub-sampled as for recording.
        backbone: Pretrained; stays as it is.
        store: Where the traces are and go.
        sampler: What is tried next; see `propose`.
        space: What is varied.
        trials: At most so many.
        base: All other fields; its seed is that of rows, runs and sampler.
        start: Recipes to try first, such as those of a prior.
        train_rows: Training rows; None takes all.
        time_limit_seconds: No run starts later than this after the call; trials that are stored
            are still read, so 0 says how far a search has come.
        cache_limit_bytes: See `PrefixCache`.
        device: As for `fine_tune`.
        on_trial: Called after each of them.

    Raises:
        RecipeError: If the space does not fit the sampler, the task or the backbone.
        RunFailedError: If no run gave a score.
    """
    began = time.monotonic()
    rows = subsample(
        task,
        train_rows=train_rows,
        validation_rows=VALIDATION_ROWS,
        test_rows=TEST_ROWS,
        seed=base.seed,
    )
    space, base = _for_sampler(space, base, sampler)
    start = [recipe.with_settings({"seed": base.seed}) for recipe in start]
    _check_space(space, base, rows, backbone)
    proposals = propose(sampler, space, base, start, base.seed)
    bench = Bench(
        rows, task.fingerprint, backbone, cache_limit_bytes=cache_limit_bytes, device=device
    )
    desk = _Desk(task, rows, backbone, store, bench)
    done: list[Trial] = []
    while len(done) < trials and (proposal := proposals.next()):
        spent = time.monotonic() - began
        trial = desk.make(
            proposal, may_run=time_limit_seconds is None or spent < time_limit_seconds
        )
        if trial is None:
            break
        proposal.learn(trial.validation)
        done.append(trial)
        if on_trial:
            on_trial(trial)
    return SearchResult(tuple(done), _best_of(done), len(done) == trials)


@dataclass(frozen=True)
class _Desk:
    """Where trials are looked up or made."""

    task: Task
    rows: Task
    backbone: Backbone
    store: TraceStore
    bench: Bench

    def make(self, proposal: Proposal, *, may_run: bool) -> Trial | None:
        """Return the trial of a proposal, from the store where it is there, or None."""
        stored = self._longest_stored(proposal.recipe)
        if stored is None:
            return self._run(proposal) if may_run else None
        epochs, is_stopped = _epochs_worth(proposal, stored)
        is_whole = stored.recipe.epochs == proposal.recipe.epochs
        if is_stopped or is_whole or stored.status != "ok":
            return _trial_of(stored, proposal.recipe, epochs, was_stored=True)
        return self._run(proposal, known_epochs=epochs) if may_run else None

    def _run(self, proposal: Proposal, known_epochs: int = 0) -> Trial:
        run = self._planned(proposal.recipe)

        def goes_on(record: EpochRecord) -> bool:
            # The proposal was asked about these epochs when they were read from the store.
            return record.epoch <= known_epochs or _is_worth_more(
                proposal, record, self.task.metric
            )

        trace = self.bench.record(run, time.perf_counter(), goes_on)
        self.store.add(trace)
        return _trial_of(trace, proposal.recipe, len(trace.curve), was_stored=False)

    def _longest_stored(self, recipe: Recipe) -> Trace | None:
        """Return the stored run of a recipe, or of its first epochs, that made the most."""
        budgets = [recipe.epochs] if recipe.depends_on_budget else range(recipe.epochs, 0, -1)
        keys = [self._key(recipe.truncated(epochs)) for epochs in budgets]
        stored = {trace.trace_id: trace for trace in self.store.traces(keys)}
        return next((stored[key] for key in keys if key in stored), None)

    def _planned(self, recipe: Recipe) -> PlannedRun:
        count = len(self.rows.train)
        return PlannedRun(self.task.name, self.backbone.identity, recipe, count, recipe.seed)

    def _key(self, recipe: Recipe) -> str:
        ids = self.task.fingerprint, self.backbone.fingerprint
        return trace_id_of(*ids, recipe, len(self.rows.train), recipe.seed)


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


def _trial_of(trace: Trace, wanted: Recipe, epochs: int, *, was_stored: bool) -> Trial:
    """Return what the first epochs of a run say of a recipe."""
    curve, metric = trace.curve[:epochs], trace.metric
    best = best_epoch_of(curve, metric)
    is_cut = trace.status == "ok" and not wanted.depends_on_budget
    return Trial(
        recipe=wanted.truncated(epochs) if is_cut else wanted,
        wanted_epochs=wanted.epochs,
        status=trace.status,
        validation=curve[best - 1].validation[metric] if best else math.nan,
        test=curve[best - 1].test[metric] if best else math.nan,
        best_epoch=best,
        wall_seconds=trace.costs.wall_seconds,
        was_stored=was_stored,
        trace_id=trace.trace_id,
    )


def _best_of(trials: Sequence[Trial]) -> Trial:
    scored = [trial for trial in trials if trial.best_epoch]
    if not scored:
        raise RunFailedError(
            "no trial gave a score: all diverged, ran out of memory or failed, or the time limit "
            "came before the first. Search lower learning rates."
        )
    return max(scored, key=lambda trial: trial.validation)


def _for_sampler(space: SearchSpace, base: Recipe, sampler: Sampler) -> tuple[SearchSpace, Recipe]:
    """Give every run of `asha` the largest budget; it finds the budget by itself."""
    if sampler != "asha":
        return space, base
    space, epochs = space.without_budgets()
    base = base if epochs is None else base.with_settings({"epochs": epochs})
    varied = {"schedule", "warmup_steps"} & set(space.fields)
    if base.depends_on_budget or varied:
        raise RecipeError(
            "asha stops runs early, which needs a rate that does not depend on the epochs; the "
            f"{'space varies ' + min(varied) if varied else f'schedule is {base.schedule!r}'}",
            "Search a constant schedule, with a warm-up as a share, or use tpe",
        )
    return space, base


def _check_space(space: SearchSpace, base: Recipe, task: Task, backbone: Backbone) -> None:
    """Refuse values that fit neither task nor backbone, before any run.

    Raises:
        RecipeError: Naming the first of them.
    """
    check_fit(base, task, backbone)
    longest = _longest(space, base)
    for name, values in space.fields.items():
        for value in (values.low, values.high) if isinstance(values, Range) else values:
            try:
                recipe = (longest if name == "warmup_steps" else base).with_settings({name: value})
            except RecipeError:  # Perhaps it goes with another value of another field.
                continue
            check_fit(recipe, task, backbone)


def _longest(space: SearchSpace, base: Recipe) -> Recipe:
    """Return a recipe with the most steps that the space allows: a warm-up must fit into them."""
    picked = {}
    for name, pick in (("epochs", max), ("batch_size", min)):
        values = space.fields.get(name, ())
        picked[name] = pick(
            (values.low, values.high) if isinstance(values, Range) else values,
            default=getattr(base, name),
        )
    return base.with_settings(picked)
