"""What the comparison of initialisations consists of: its numbers, methods, cells, and one cell.

A cell is one method on one dataset with one draw of rows. All cells of a dataset and a draw share
the encoded rows and the states below the frozen depth, which no method changes.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
from held_out import Split

from metaft.backbones.backbone import Backbone
from metaft.backbones.load import load_backbone
from metaft.metalearning.adapting import FewShotProblem, HeadStart, check_frozen_alike
from metaft.metalearning.initialisation import (
    Initialisation,
    apply_initialisation,
    load_initialisation,
)
from metaft.metalearning.layer_rates import layer_rate_decay_of
from metaft.recipes import Recipe
from metaft.tasks.few_shot import few_shot_task
from metaft.tasks.load import load_task
from metaft.tasks.split import subsample
from metaft.tasks.task import Task

DEVELOP, FEW, MANY = "develop", "few", "many"

SHOTS = (4, 8, 16, 32)  # Training rows of each class.
DEVELOPMENT_SHOTS = 8
SEEDS, DEVELOPMENT_SEEDS, MANY_SEEDS = 5, 2, 3
MANY_ROWS = 512
MOST_WAYS = 6
STEPS, MANY_STEPS = 12, 96  # Of AdamW; 96 are three epochs of 512 rows.
LOOKS = (0, 1, 2, 4, 8, 12)  # Steps after which the first test rows are scored.
LOOK_ROWS = 100
LOOK_SEEDS = 2  # Draws whose curves are looked at.
TEST_ROWS = 200
RATES = (1e-4, 3e-4, 1e-3)
RECIPE = Recipe(frozen_fraction=0.5, batch_size=16, max_length=64)
BACKBONE = "minilm"

PRETRAINED, LINEAR_PROBE, LP_FT, PROTOTYPE = "pretrained", "linear-probe", "lp-ft", "prototype"
SIMPLE = (PRETRAINED, LINEAR_PROBE, LP_FT, PROTOTYPE)
"""The rivals that need no training beforehand."""

MULTI_TASK, LAYERED = "multi-task", "meta-sgd-layered"
META_LEARNED = ("reptile", "fomaml", "maml", "meta-sgd", "anil")
METHODS = (*SIMPLE, MULTI_TASK, *META_LEARNED, LAYERED)


@dataclass(frozen=True, slots=True)
class Cell:
    """One method on one draw of rows of one dataset.

    Attributes:
        stage: `develop`, `few` or `many`.
        dataset: Its name.
        seed: Of rows, classes, order and dropout.
        shots: Training rows of each class; 0 where rows are drawn whatever their class.
        method: One of `METHODS`.
        rate: Of AdamW; 0 where no step is taken.
        head: How the head starts.
    """

    stage: str
    dataset: str
    seed: int
    shots: int
    method: str
    rate: float
    head: HeadStart


@dataclass(frozen=True, slots=True)
class Result:
    """What a cell gave; see `Adapted`."""

    cell: Cell
    train_rows: int
    accuracy: float
    curve: tuple[tuple[int, float], ...]
    cpu_seconds: float


@dataclass(frozen=True)
class Group:
    """Cells that share rows."""

    stage: str
    dataset: str
    seed: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Plan:
    """What shall be compared.

    Attributes:
        inits: Folder with one folder per algorithm.
        split: Which datasets are for what.
        methods: Those that are compared.
        seeds: Most draws of rows of a dataset.
        shots: Training rows of each class.
    """

    inits: Path
    split: Split
    methods: tuple[str, ...] = METHODS
    seeds: int = SEEDS
    shots: tuple[int, ...] = SHOTS

    def only(
        self,
        *,
        methods: tuple[str, ...] | None,
        datasets: tuple[str, ...] | None,
        seeds: int | None,
        shots: tuple[int, ...] | None,
    ) -> Plan:
        """Return a part of the plan; None leaves things as they are."""
        split = self.split
        if datasets is not None:
            kept = [
                tuple(name for name in names if name in datasets)
                for names in (split.test, split.development)
            ]
            split = dataclasses.replace(split, test=kept[0], development=kept[1])
        return dataclasses.replace(
            self,
            split=split,
            methods=methods or self.methods,
            seeds=seeds or self.seeds,
            shots=shots or self.shots,
        )

    def available(self) -> list[str]:
        """Return the methods whose initialisation is there."""
        return [m for m in self.methods if m in SIMPLE or self.file_of(m).is_file()]

    def file_of(self, method: str) -> Path:
        """Return where the initialisation of a method lies."""
        algorithm = "meta-sgd" if method == LAYERED else method
        return self.inits / algorithm / "init.safetensors"


def options_of(method: str) -> list[tuple[float, HeadStart]]:
    """Return the rates and heads that development chooses from."""
    if method in (LINEAR_PROBE, PROTOTYPE):
        return [(0.0, "linear_probe" if method == LINEAR_PROBE else "prototype")]
    if method == LP_FT:
        return [(rate, "linear_probe") for rate in RATES]
    heads: tuple[HeadStart, ...] = ("zero", "prototype")
    return list(product(RATES, heads))


def chosen_options(
    results: Sequence[Result], methods: Sequence[str]
) -> dict[str, tuple[float, HeadStart]]:
    """Return the options of each method that were best on the development datasets.

    A method without any result there takes its middle rate and first head.
    """
    chosen = {}
    for method in methods:
        means = mean_accuracies(results, method)
        options = options_of(method)
        usual = options[(len(options) - 1) // 2]
        chosen[method] = max(options, key=lambda option: (means.get(option, -1.0), option == usual))
    return chosen


def best_meta_learned(results: Sequence[Result], methods: Sequence[str]) -> str | None:
    """Return the meta-learned method that was best on the development datasets, if any was run."""
    learned = [method for method in methods if method in META_LEARNED]
    means = {method: mean_accuracies(results, method) for method in learned}
    developed = [method for method in learned if means[method]]
    return max(developed, key=lambda method: max(means[method].values()), default=None)


def groups_of(plan: Plan, stage: str, results: Sequence[Result]) -> Iterator[Group]:
    """Yield what is missing of a stage, the cells of one dataset and seed together."""
    known = {result.cell for result in results}
    names = plan.split.development if stage == DEVELOP else plan.split.test
    most = {DEVELOP: DEVELOPMENT_SEEDS, FEW: SEEDS, MANY: MANY_SEEDS}[stage]
    for seed, dataset in product(range(min(most, plan.seeds)), names):
        wanted = _cells(stage, dataset, seed, plan, results)
        missing = tuple(cell for cell in wanted if cell not in known)
        if missing:
            yield Group(stage, dataset, seed, missing)


def solve(plan: Plan, group: Group, deadline: float) -> Iterator[Result]:
    """Make the results of a group, until the deadline (of `time.monotonic`)."""
    recipe = dataclasses.replace(RECIPE, seed=group.seed)
    problem = FewShotProblem(_rows_of(group), _start(plan, PRETRAINED), recipe)
    for cell in group.cells:
        if time.monotonic() > deadline:
            return
        yield _solve_cell(plan, cell, problem, recipe)


def _solve_cell(plan: Plan, cell: Cell, problem: FewShotProblem, recipe: Recipe) -> Result:
    if cell.rate:
        recipe = dataclasses.replace(recipe, learning_rate=cell.rate)
    if cell.method == LAYERED:
        decay = layer_rate_decay(plan.file_of(cell.method))
        recipe = dataclasses.replace(recipe, layer_rate_decay=decay)
    many = cell.stage == MANY
    steps = 0 if not cell.rate else MANY_STEPS if many else STEPS
    rows = len(problem.task.train) if many else cell.shots * problem.task.num_outputs
    adapted = problem.adapt(
        _start(plan, cell.method),
        rows,
        recipe,
        head=cell.head,
        steps=steps,
        looks=LOOKS if cell.stage == FEW and cell.seed < LOOK_SEEDS else (),
        look_rows=LOOK_ROWS,
    )
    return Result(cell, rows, adapted.accuracy, adapted.curve, adapted.cpu_seconds)


def _rows_of(group: Group) -> Task:
    """Return the rows that the cells of a group share."""
    task = _loaded(group.dataset)
    if group.stage == MANY:
        cut = subsample(task, train_rows=MANY_ROWS, test_rows=2 * TEST_ROWS, seed=group.seed)
        return cut.replaced(validation=cut.validation.take([]))
    shots = DEVELOPMENT_SHOTS if group.stage == DEVELOP else max(SHOTS)
    return few_shot_task(
        task, shots=shots, most_ways=MOST_WAYS, test_rows=TEST_ROWS, seed=group.seed
    )


def _cells(
    stage: str, dataset: str, seed: int, plan: Plan, results: Sequence[Result]
) -> list[Cell]:
    """Return what a stage asks of one dataset and seed."""
    methods = plan.available()
    if stage == DEVELOP:
        return [
            Cell(DEVELOP, dataset, seed, DEVELOPMENT_SHOTS, method, rate, head)
            for method in methods
            for rate, head in options_of(method)
        ]
    chosen = chosen_options(results, methods)
    if stage == FEW:
        return [
            Cell(FEW, dataset, seed, shots, method, *chosen[method])
            for shots in plan.shots
            for method in methods
        ]
    compared = {PRETRAINED, best_meta_learned(results, methods)}
    return [
        Cell(MANY, dataset, seed, 0, method, *chosen[method])
        for method in methods
        if method in compared
    ]


def mean_accuracies(
    results: Sequence[Result], method: str
) -> Mapping[tuple[float, HeadStart], float]:
    """Return the mean accuracy of each option of a method over the development datasets."""
    found: dict[tuple[float, HeadStart], list[float]] = {}
    for result in results:
        cell = result.cell
        if cell.stage == DEVELOP and cell.method == method:
            found.setdefault((cell.rate, cell.head), []).append(result.accuracy)
    return {option: float(np.mean(values)) for option, values in found.items()}


@cache
def _loaded(dataset: str) -> Task:
    return load_task(dataset, offline=True)


@cache
def read_initialisation(path: Path) -> Initialisation:
    """Read an initialisation once."""
    return load_initialisation(path)


@cache
def _pretrained() -> Backbone:
    return load_backbone(BACKBONE, offline=True)


@cache
def _learned_start(path: Path) -> Backbone:
    """Return the backbone that an initialisation makes, which must share the frozen part."""
    backbone = load_backbone(BACKBONE, offline=True)
    apply_initialisation(backbone, read_initialisation(path))
    check_frozen_alike(backbone, _pretrained(), RECIPE)
    return backbone


def _start(plan: Plan, method: str) -> Backbone:
    return _pretrained() if method in SIMPLE else _learned_start(plan.file_of(method))


@cache
def layer_rate_decay(path: Path) -> float:
    """Return the decay of rates from block to block that is nearest to what Meta-SGD learned."""
    return layer_rate_decay_of(_pretrained(), read_initialisation(path).learned_rates)
