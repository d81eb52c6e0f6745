"""Protocol: the runs that a comparison consists of, and how they are recorded.

Every method chooses one recipe per task. For each seed all methods train on the same rows
and are scored on the same rows, so that differences between them are paired. All runs go
through the recorder into a trace store: a comparison that was stopped goes on where it was,
and a run that any earlier recording made is not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from metaft.backbones.load import default_backbone, load_backbone
from metaft.comparing.choice import Choice
from metaft.comparing.methods import Method
from metaft.comparing.scoring import RowCounts, count_rows, guess_score
from metaft.errors import PriorError, TaskError, UserError
from metaft.tasks.load import load_task
from metaft.tasks.task import Kind, Metric, Modality, Task
from metaft.traces.recorder import OnPlanned, OnTrace, OnWait, RecordingSummary, record
from metaft.traces.store import TraceStore
from metaft.traces.trace import PlannedRun, Trace, trace_id_of


@dataclass(frozen=True, eq=False)
class PlannedTask:
    """One task of a comparison, and what each method chose for it.

    Attributes:
        name, kind, metric: Of the task.
        backbone: Identity of the backbone that is fine-tuned.
        guess_score: Test score of always answering the most frequent training class.
        rows: Rows of each split that each run uses.
        choices: Method -> its choice.
        trace_ids: (method, seed) -> key of the run's trace.
    """

    name: str
    kind: Kind
    metric: Metric
    backbone: str
    guess_score: float
    rows: RowCounts
    choices: Mapping[str, Choice]
    trace_ids: Mapping[tuple[str, int], str]

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
        """Every run, ordered so that one seed is complete before the next begins."""
        return [
            PlannedRun(task.name, task.backbone, task.choices[method].recipe, self.train_rows, seed)
            for seed in range(self.seeds)
            for task in self.tasks
            for method in self.methods
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


def run_comparison(
    plan: ComparisonPlan,
    store: TraceStore,
    *,
    workers: int = 1,
    time_limit_seconds: float | None = None,
    cache_limit_bytes: int | None = None,
    offline: bool = False,
    on_planned: OnPlanned | None = None,
    on_trace: OnTrace | None = None,
    on_wait: OnWait | None = None,
) -> RecordingSummary:
    """Record the runs of a plan that are not stored yet; see `metaft.traces.recorder.record`."""
    return record(
        plan.runs,
        store,
        workers=workers,
        time_limit_seconds=time_limit_seconds,
        cache_limit_bytes=cache_limit_bytes,
        offline=offline,
        on_planned=on_planned,
        on_trace=on_trace,
        on_wait=on_wait,
    )


def traces_of(plan: ComparisonPlan, store: TraceStore) -> dict[str, Trace]:
    """Return key -> trace of every run of a plan that is stored."""
    keys = {key for task in plan.tasks for key in task.trace_ids.values()}
    return {trace.trace_id: trace for trace in store.traces(keys)}


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
        trace_ids = {
            (name, seed): _trace_id(task, facts.fingerprint, choice, rows.train, seed)
            for name, choice in choices.items()
            for seed in range(self.seeds)
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
        )

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


def _trace_id(task: Task, backbone_fingerprint: str, choice: Choice, rows: int, seed: int) -> str:
    recipe = choice.recipe.with_settings({"seed": seed})
    return trace_id_of(task.fingerprint, backbone_fingerprint, recipe, rows, seed)
