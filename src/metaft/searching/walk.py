"""Walk: a search as any process sees it that knows its plan and the store.

What is proposed depends on the plan and on the scores of stored runs alone. So every process
that works on a search finds out by itself which runs are to be made, and so does a later one
that goes on where they stopped.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from metaft.errors import RecipeError
from metaft.recipes import Recipe
from metaft.searching.proposals import Proposal, Proposals, Sampler, propose
from metaft.searching.space import SearchSpace
from metaft.searching.trials import OnTrial, SearchResult, StoredRuns, Trial, best_of
from metaft.tasks.columns import RECOGNISED, ColumnNames
from metaft.tasks.task import Kind, Metric
from metaft.traces.store import TraceStore
from metaft.traces.trace import PlannedRun, trace_id_of

_LOOK_AHEAD = 4  # Trials per worker that nobody learns from and that are proposed at once.


@dataclass(frozen=True, slots=True)
class Ground:
    """What all runs of a search have in common.

    Attributes:
        task: Name of the task, as it stands in traces.
        kind, metric: Of the task.
        task_fingerprint: Of the whole task.
        backbone: Identity of the backbone.
        backbone_fingerprint: Over its weights.
        train_rows: Training rows that are used.
        dataset: As `load_task` takes it.
        columns: Likewise.
    """

    task: str
    kind: Kind
    metric: Metric
    task_fingerprint: str
    backbone: str
    backbone_fingerprint: str
    train_rows: int
    dataset: str
    columns: ColumnNames = RECOGNISED

    @property
    def fingerprints(self) -> tuple[str, str]:
        """Of task and backbone."""
        return self.task_fingerprint, self.backbone_fingerprint

    def run_of(self, recipe: Recipe) -> PlannedRun:
        """Return the run of a recipe."""
        return PlannedRun(self.task, self.backbone, recipe, self.train_rows, recipe.seed)

    def key_of(self, recipe: Recipe) -> str:
        """Return the key of its trace."""
        return trace_id_of(*self.fingerprints, recipe, self.train_rows, recipe.seed)


@dataclass(frozen=True)
class SearchPlan:
    """A search that can be made anywhere; from `plan_search`.

    Attributes:
        ground: What all its runs have in common.
        sampler: What is tried next.
        space: What is varied.
        trials: How many are made at most.
        base: All other fields; its seed is that of rows, runs and sampler.
        start: Recipes to try first.
        at_once: Trials that are proposed before the first of them is over.
    """

    ground: Ground
    sampler: Sampler
    space: SearchSpace
    trials: int
    base: Recipe
    start: tuple[Recipe, ...] = ()
    at_once: int = 1

    def propose(self) -> Proposals:
        """Return its recipes, from the first."""
        return propose(self.sampler, self.space, self.base, self.start, self.base.seed)


def plan_search(
    ground: Ground,
    *,
    sampler: Sampler,
    space: SearchSpace,
    trials: int,
    base: Recipe,
    start: Collection[Recipe] = (),
    workers: int = 1,
) -> SearchPlan:
    """Plan a search.

    TPE and ASHA learn from each trial, so with more workers they know less when they propose or
    stop one: the number of workers is part of what such a search is. Trials of a grid, and
    random ones, are the same whatever it is.

    Args:
        ground: Task, backbone and rows.
        sampler: See `propose`.
        space: What is varied.
        trials: At most so many, >= 1.
        base: All other fields.
        start: Recipes to try first; their seed becomes that of `base`.
        workers: That will make the trials side by side.

    Raises:
        RecipeError: If the space does not fit the sampler.
    """
    space, base = _for_sampler(space, base, sampler)
    return SearchPlan(
        ground=ground,
        sampler=sampler,
        space=space,
        trials=trials,
        base=base,
        start=tuple(recipe.with_settings({"seed": base.seed}) for recipe in start),
        at_once=workers if sampler in ("tpe", "asha") else workers * _LOOK_AHEAD,
    )


@dataclass(eq=False)
class Walk:
    """How far a search is.

    Attributes:
        plan: What is searched.
        store: Where its trials are.
        on_trial: Called for every trial that is over, in the order in which they were proposed.
        done: Those trials.
    """

    plan: SearchPlan
    store: TraceStore
    on_trial: OnTrial | None = None
    done: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runs = StoredRuns(self.store, self.plan.ground.key_of)
        self._proposals = self.plan.propose()
        self._open: deque[Proposal] = deque()
        self._answers: dict[int, Trial] = {}  # id of an open proposal -> its trial
        self._is_all = False

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to make, as far as has been looked."""
        return not self._open and self._is_all

    def look(self) -> None:
        """Read what has ended; propose what may be tried next.

        Trials are learned from in the order in which they were proposed, whichever ends first,
        and always with as many of them open: so it is the same for everyone who looks.
        """
        self._propose()
        while self._open and (trial := self._answer(self._open[0])):
            proposal = self._open.popleft()
            self._answers.pop(id(proposal))
            proposal.learn(trial.validation)
            self.done.append(trial)
            if self.on_trial:
                self.on_trial(trial)
            self._propose()

    def to_make(self) -> Iterator[Proposal]:
        """Yield the proposals that are not answered yet, the first first."""
        self.look()
        for proposal in list(self._open):
            if not self._answer(proposal):
                yield proposal

    def result(self, made: Collection[str] = ()) -> SearchResult:
        """Return what was found so far.

        Args:
            made: Keys of the runs that were made for it, and not read from the store.

        Raises:
            RunFailedError: If no trial gave a score.
        """
        trials = [
            dataclasses.replace(trial, was_stored=trial.trace_id not in made) for trial in self.done
        ]
        return SearchResult(tuple(trials), best_of(trials), len(trials) == self.plan.trials)

    def _propose(self) -> None:
        while not self._is_all and len(self._open) < self.plan.at_once:
            is_last = len(self.done) + len(self._open) >= self.plan.trials
            proposal = None if is_last else self._proposals.next()
            if proposal is None:
                self._is_all = True
            else:
                self._open.append(proposal)

    def _answer(self, proposal: Proposal) -> Trial | None:
        if id(proposal) not in self._answers:
            trial = self.runs.answer(proposal)
            if trial is None:
                return None
            self._answers[id(proposal)] = trial
        return self._answers[id(proposal)]


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
    if base.early_stopping_patience is not None or "early_stopping_patience" in space.fields:
        raise RecipeError(
            "asha stops runs early itself, and a run that it stopped could not be told from one "
            f"that ran out of patience; early_stopping_patience is {base.early_stopping_patience}",
            "Leave early_stopping_patience out, or use tpe",
        )
    warmup = space.highest("warmup_fraction", base.warmup_fraction)
    if warmup * base.epochs > 1:
        raise RecipeError(
            f"warmup_fraction {warmup:g} of {base.epochs} epochs is more than one "
            "epoch, after which asha may stop a run: it would not be the run of any recipe",
            f"Set warmup_fraction to at most {math.floor(1000 / base.epochs) / 1000:g}, or use tpe",
        )
    return space, base
