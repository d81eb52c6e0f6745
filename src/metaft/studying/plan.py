"""Plan: the runs of a study, found out before the first of them begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metaft.backbones.backbone import Backbone
from metaft.backbones.load import default_backbone, load_backbone
from metaft.comparing.scoring import RowCounts, count_rows, guess_score
from metaft.errors import RecipeError, StudyError, TaskError
from metaft.features.dataset import describe_dataset
from metaft.features.extract import describe_backbone
from metaft.finetuning.fitness import check_fit
from metaft.prior.described import Described
from metaft.searching.search import SearchResult
from metaft.studying.arms import Arm, ArmMaker
from metaft.studying.card import Size, StudyCard, Variant
from metaft.studying.combining import Grid, LeftOut, Levels, combine, tell_problems
from metaft.studying.starts import pretrained
from metaft.studying.trials import make_trials
from metaft.tasks.load import load_task
from metaft.tasks.select import select_tasks
from metaft.tasks.split import subsample
from metaft.tasks.task import Kind, Metric, Modality, Task
from metaft.traces.store import TraceStore
from metaft.traces.trace import TEST_ROWS, VALIDATION_ROWS, PlannedRun, trace_id_of

RunKey = tuple[Levels, int]
"""(levels, seed)."""


@dataclass(frozen=True, eq=False)
class StudyUnit:
    """One task on one backbone.

    Attributes:
        task, kind, metric: Of the task.
        backbone: Identity of the backbone.
        guess_score: Test score of always answering the most frequent training class.
        rows: Rows of each split that each run uses.
        described: What of task and backbone says how long a run takes.
        arms: Levels -> what is run.
        keys: (levels, seed) -> key of the trace; of a search there is none.
        found: (levels, seed) -> as much of a search as is stored; None where nothing is.
        is_seen: Whether some method had learned from the task or a relative of it.
    """

    task: str
    kind: Kind
    metric: Metric
    backbone: str
    guess_score: float
    rows: RowCounts
    described: Described
    arms: Mapping[Levels, Arm]
    keys: Mapping[RunKey, str]
    found: Mapping[RunKey, SearchResult | None]

    @property
    def is_seen(self) -> bool:
        return any(arm.is_seen for arm in self.arms.values())


@dataclass(frozen=True, eq=False)
class StudyPlan:
    """Units x levels x seeds.

    Attributes:
        card: What is asked.
        size: At which size.
        units: What can be run.
        left_out: What cannot.
    """

    card: StudyCard
    size: Size
    units: tuple[StudyUnit, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def variant(self) -> Variant:
        """Return the grid."""
        return self.card.variant(self.size)

    @property
    def runs(self) -> list[PlannedRun]:
        """Every run but those of searches, one seed complete before the next begins."""
        return [
            PlannedRun(unit.task, arm.start.identity, arm.recipe, self.variant.rows, seed)
            for seed in range(self.variant.seeds)
            for unit in self.units
            for arm in unit.arms.values()
            if arm.search is None
        ]

    @property
    def searches(self) -> Iterator[tuple[StudyUnit, Arm, int]]:
        """Yield unit, arm and seed of every search."""
        for seed in range(self.variant.seeds):
            for unit in self.units:
                for arm in unit.arms.values():
                    if arm.search is not None:
                        yield unit, arm, seed


def plan_study(
    card: StudyCard,
    size: Size,
    store: TraceStore,
    *,
    prior: str | None = None,
    inits: Path | None = None,
    offline: bool = False,
    on_task: Callable[[str], None] | None = None,
) -> StudyPlan:
    """Find out what a study runs: load every task, and look whether each recipe fits it.

    Args:
        card: What is asked.
        size: At which size.
        store: Where searches may have left trials.
        prior: Name or folder of the prior that methods ask; None takes the newest shipped one.
        inits: Folder of initialisations, see `prepare_start`.
        offline: Never ask the hub.
        on_task: Called with the name of each task that has been planned.

    Raises:
        TaskError: If the card names a task that does not exist.
        StudyError: If nothing can be run.
        BackboneError: If a backbone cannot be loaded.
        PriorError: If the named prior cannot be used.
    """
    variant = card.variant(size)
    names = tasks_of(variant)
    maker = ArmMaker(variant, prior=prior, inits=inits, offline=offline)
    planner = _Planner(variant, maker, store, offline)
    for name in names:
        planner.add(name)
        if on_task:
            on_task(name)
    if not planner.units:
        raise StudyError(
            f"nothing of {card.name!r} can be run; {planner.left_out[0].task}: "
            f"{planner.left_out[0].why}",
            "Give the data (METAFT_DATA), or other tasks",
        )
    return StudyPlan(card, size, tuple(planner.units), tuple(planner.left_out))


def tasks_of(variant: Variant) -> list[str]:
    """Return the names of a variant's tasks; paths stay as they are.

    Raises:
        TaskError: If a term means no task.
    """
    paths = [term for term in variant.tasks if Path(term).exists()]
    terms = [term for term in variant.tasks if term not in paths]
    return [*(select_tasks(",".join(terms)) if terms else ()), *paths]


@dataclass(eq=False)
class _Planner:
    """Plans one task after the other; loads each backbone once."""

    variant: Variant
    maker: ArmMaker
    store: TraceStore
    offline: bool
    units: list[StudyUnit] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    _backbones: dict[str, Backbone] = field(default_factory=dict)
    _grids: dict[Modality, Grid] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Plan a task on every backbone that takes it, or note why it is left out."""
        try:
            task = load_task(name, offline=self.offline)
        except TaskError as error:
            self.left_out.append(LeftOut(name, "", str(error)))
            return
        wanted = self.variant.backbones or (default_backbone(task.modality),)
        backbones = [self._backbone(identity) for identity in wanted]
        fitting = [backbone for backbone in backbones if backbone.modality == task.modality]
        if not fitting:
            why = f"it is a task of {task.modality}s, and no backbone of the card takes them"
            self.left_out.append(LeftOut(task.name, "", why))
        for backbone in fitting:
            unit = self._plan(task, backbone)
            if unit.arms:
                self.units.append(unit)

    def _backbone(self, identity: str) -> Backbone:
        if identity not in self._backbones:
            self._backbones[identity] = load_backbone(identity, offline=self.offline)
        return self._backbones[identity]

    def _plan(self, task: Task, backbone: Backbone) -> StudyUnit:
        counts = count_rows(task, self.variant.rows)
        sample = subsample(
            task,
            train_rows=counts.train,
            validation_rows=VALIDATION_ROWS,
            test_rows=TEST_ROWS,
        )
        made, problems = self._arms(task, sample, backbone)
        arms, found = self._look_up(task, backbone, made, problems)
        named = self.variant.levels
        self.left_out += tell_problems(task.name, problems, named)
        return StudyUnit(
            task=task.name,
            kind=task.kind,
            metric=task.metric,
            backbone=backbone.identity,
            guess_score=guess_score(task),
            rows=counts,
            described=_describe(sample, task, backbone),
            arms=arms,
            keys=dict(self._keys(task, counts.train, arms)),
            found=found,
        )

    def _arms(
        self, task: Task, sample: Task, backbone: Backbone
    ) -> tuple[dict[Levels, Arm], dict[Levels, str]]:
        """Return what fits the task, and why the rest does not."""
        if self.variant.methods:
            return self.maker.make(task, sample, backbone)
        grid = self._grid(task.modality)
        arms: dict[Levels, Arm] = {}
        problems = dict(grid.problems)
        start = pretrained(backbone)
        for levels, recipe in grid.recipes.items():
            try:
                check_fit(recipe, sample, backbone)
                arms[levels] = Arm(levels, recipe, start)
            except RecipeError as error:
                problems[levels] = f"{error.problem}."
        return arms, problems

    def _grid(self, modality: Modality) -> Grid:
        if modality not in self._grids:
            self._grids[modality] = combine(self.variant, modality)
        return self._grids[modality]

    def _look_up(
        self,
        task: Task,
        backbone: Backbone,
        arms: dict[Levels, Arm],
        problems: dict[Levels, str],
    ) -> tuple[dict[Levels, Arm], dict[RunKey, SearchResult | None]]:
        """Read how far each search has come; one whose space does not fit is left out."""
        found: dict[RunKey, SearchResult | None] = {}
        kept = dict(arms)
        for levels, arm in arms.items():
            if arm.search is None:
                continue
            try:
                for seed in range(self.variant.seeds):
                    found[levels, seed] = make_trials(
                        arm,
                        task,
                        backbone,
                        self.store,
                        train_rows=self.variant.rows,
                        seed=seed,
                        time_limit_seconds=0.0,
                    )
            except RecipeError as error:
                problems[levels] = f"{error.problem}."
                del kept[levels]
        return kept, found

    def _keys(
        self, task: Task, train_rows: int, arms: Mapping[Levels, Arm]
    ) -> Iterator[tuple[RunKey, str]]:
        for levels, arm in arms.items():
            for seed in range(self.variant.seeds) if arm.search is None else ():
                recipe = dataclasses.replace(arm.recipe, seed=seed)
                ids = (task.fingerprint, arm.start.fingerprint, recipe, train_rows, seed)
                yield (levels, seed), trace_id_of(*ids)


def _describe(sample: Task, task: Task, backbone: Backbone) -> Described:
    return Described(
        task=task.name,
        fingerprint=task.fingerprint,
        kind=task.kind,
        metric=task.metric,
        backbone=backbone.identity,
        train_rows=len(sample.train),
        values={**describe_dataset(sample, backbone), **describe_backbone(backbone)},
    )
