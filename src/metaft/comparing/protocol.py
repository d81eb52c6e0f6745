"""Protocol: the runs that a comparison consists of.

Every method chooses one recipe per task, or a few that race, or it searches. For each seed all
methods train on the same rows and are scored on the same rows, so that differences between them
are paired.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from metaft.backbones.load import default_backbone, load_backbone
from metaft.comparing.choice import Choice
from metaft.comparing.methods import Method
from metaft.comparing.scoring import RowCounts, count_rows, guess_score
from metaft.errors import PriorError, TaskError, UserError
from metaft.recipes import Recipe
from metaft.searching.space import usual_space
from metaft.searching.walk import Ground, SearchPlan, plan_search
from metaft.tasks.load import load_task
from metaft.tasks.task import Kind, Metric, Modality, Task
from metaft.traces.trace import PlannedRun, trace_id_of

RunKey = tuple[str, int]
"""(method, seed)."""


@dataclass(frozen=True, eq=False)
class PlannedTask:
    """One task of a comparison, and what each method chose for it.

    Attributes:
        name, kind, metric: Of the task.
        backbone: Identity of the backbone that is fine-tuned.
        guess_score: Test score of always answering the most frequent training class.
        rows: Rows of each split that each run uses.
        choices: Method -> its choice.
        trace_ids: (method, seed) -> key of the run's trace; of a method whose recipes race,
            or that searches, once that is over.
        key_of: (recipe, seed) -> key of the trace of such a run on this task.
        winners: (method, seed) -> the recipe that won, where there was a race or a search.
        given_up: (method, seed) -> keys of the first epochs that lost a race, or of the trials
            of a search that were not the best.
        searches: (method, seed) -> the search, of those that make one.
    """

    name: str
    kind: Kind
    metric: Metric
    backbone: str
    guess_score: float
    rows: RowCounts
    choices: Mapping[str, Choice]
    trace_ids: Mapping[RunKey, str]
    key_of: Callable[[Recipe, int], str]
    winners: Mapping[RunKey, Recipe] = field(default_factory=dict)
    given_up: Mapping[RunKey, tuple[str, ...]] = field(default_factory=dict)
    searches: Mapping[RunKey, SearchPlan] = field(default_factory=dict)

    def recipe_of(self, method: str, seed: int) -> Recipe | None:
        """Return what a method runs; None while its race or its search is not over."""
        choice = self.choices[method]
        return self.winners.get((method, seed)) if choice.is_open else choice.recipe

    @property
    def is_seen(self) -> bool:
        """Whether the prior that some method asked had learned from this task or a relative."""
        return any(choice.is_seen for choice in self.choices.values())


@dataclass(frozen=True, eq=False)
class ComparisonPlan:
    """Tasks x seeds x methods.

    Attributes:
        methods: Two names or more, in the order asked for.
        seeds: Seeds of each method on each task: 0, 1, ...
        train_rows: Training rows asked for.
        tasks: Those that can be compared.
        left_out: Task -> why it cannot.
    """

    methods: tuple[str, ...]
    seeds: int
    train_rows: int
    tasks: tuple[PlannedTask, ...]
    left_out: Mapping[str, str]

    @property
    def runs(self) -> list[PlannedRun]:
        """Every run whose recipe is known, one seed complete before the next begins."""
        return [
            PlannedRun(task.name, task.backbone, recipe, self.train_rows, seed)
            for seed in range(self.seeds)
            for task in self.tasks
            for method in self.methods
            if (recipe := task.recipe_of(method, seed))
        ]


def plan_comparison(
    tasks: Sequence[str],
    methods: Sequence[Method],
    *,
    seeds: int,
    train_rows: int,
    backbone: str | None = None,
    offline: bool = False,
    on_task: Callable[[str], None] | None = None,
) -> ComparisonPlan:
    """Let every method choose its recipe for every task.

    Args:
        tasks: Names of tasks.
        methods: From `parse_methods`.
        seeds: Seeds per task and method, >= 1.
        train_rows: Training rows of each run, >= 1; a smaller task gives all it has.
        backbone: Identity of the backbone; None takes the default of each task's modality.
        offline: Never ask the hub.
        on_task: Called with the name of each task that has been planned.

    Returns:
        The plan; tasks that cannot be loaded, or that the backbone or a method's prior does
        not take, stand among its `left_out`.

    Raises:
        UserError: If no task can be compared.
        BackboneError: If a backbone cannot be loaded.
    """
    planner = _Planner(methods, seeds, train_rows, backbone, offline)
    for name in tasks:
        planner.add(name)
        if on_task:
            on_task(name)
    if not planner.planned:
        name, reason = next(iter(planner.left_out.items()))
        raise UserError(f"no task can be compared; {name}: {reason}", "Give other --tasks")
    return ComparisonPlan(
        methods=tuple(method.name for method in methods),
        seeds=seeds,
        train_rows=train_rows,
        tasks=tuple(planner.planned),
        left_out=planner.left_out,
    )


@dataclass(frozen=True, slots=True)
class _BackboneFacts:
    """What the plan must know of a backbone; the weights themselves are let go."""

    identity: str
    fingerprint: str
    modality: Modality


@dataclass(eq=False)
class _Planner:
    """Plans one task after the other; loads each backbone once."""

    methods: Sequence[Method]
    seeds: int
    train_rows: int
    backbone: str | None
    offline: bool
    planned: list[PlannedTask] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    _backbones: dict[str, _BackboneFacts] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Plan a task, or note why it is left out."""
        try:
            task = load_task(name, offline=self.offline)
            self.planned.append(self._plan(task))
        except (TaskError, PriorError) as error:
            self.left_out[name] = str(error)

    def _plan(self, task: Task) -> PlannedTask:
        facts = self._backbone_for(task)
        rows = count_rows(task, self.train_rows)
        choices = {
            method.name: method.choose(task, facts.identity, rows.train) for method in self.methods
        }
        key_of = functools.partial(_trace_id, task.fingerprint, facts.fingerprint, rows.train)
        trace_ids = {
            (name, seed): key_of(choice.recipe, seed)
            for name, choice in choices.items()
            for seed in range(self.seeds)
            if not choice.is_open
        }
        return PlannedTask(
            name=task.name,
            kind=task.kind,
            metric=task.metric,
            backbone=facts.identity,
            guess_score=guess_score(task),
            rows=rows,
            choices=choices,
            trace_ids=trace_ids,
            key_of=key_of,
            searches=self._searches(task, facts, rows, choices),
        )

    def _searches(
        self, task: Task, facts: _BackboneFacts, rows: RowCounts, choices: Mapping[str, Choice]
    ) -> dict[RunKey, SearchPlan]:
        """Plan the searches of all seeds, each with its trials one after the other."""
        ground = Ground(
            task=task.name,
            kind=task.kind,
            metric=task.metric,
            task_fingerprint=task.fingerprint,
            backbone=facts.identity,
            backbone_fingerprint=facts.fingerprint,
            train_rows=rows.train,
            dataset=task.name,
        )
        return {
            (name, seed): plan_search(
                ground,
                sampler=choice.search.sampler,
                space=usual_space(task.modality, choice.search.sampler),
                trials=choice.search.trials,
                base=choice.recipe.with_settings({"seed": seed}),
            )
            for seed in range(self.seeds)
            for name, choice in choices.items()
            if choice.search
        }

    def _backbone_for(self, task: Task) -> _BackboneFacts:
        asked = self.backbone or default_backbone(task.modality)
        if asked not in self._backbones:
            loaded = load_backbone(asked, offline=self.offline)
            self._backbones[asked] = _BackboneFacts(
                loaded.identity, loaded.fingerprint, loaded.modality
            )
        facts = self._backbones[asked]
        if facts.modality != task.modality:
            raise TaskError(
                f"it is a task of {task.modality}s, and {asked} takes {facts.modality}s",
                f"Name a backbone for {task.modality}s",
            )
        return facts


def _trace_id(
    task_fingerprint: str, backbone_fingerprint: str, train_rows: int, recipe: Recipe, seed: int
) -> str:
    seeded = recipe.with_settings({"seed": seed})
    return trace_id_of(task_fingerprint, backbone_fingerprint, seeded, train_rows, seed)
