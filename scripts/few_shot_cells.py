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

DEVELOP, FEW, DEVELOP_MANY, MANY = "develop", "few", "develop-many", "many"

SHOTS = (4, 8, 16, 32)  # Training rows of each class.
DEVELOPMENT_SHOTS = (8, 32)  # The first chooses for all numbers of shots below the second.
SEEDS_OF = {DEVELOP: 2, FEW: 5, DEVELOP_MANY: 1, MANY: 3}
MANY_ROWS = 512
MOST_WAYS = 6
STEPS, MANY_STEPS = 12, 96  # Of AdamW; 96 are three epochs of 512 rows.
LOOKS = (0, 1, 2, 4, 8, 12)  # Steps after which the first test rows are scored.
LOOK_ROWS = 100
LOOK_SEEDS = 2  # Draws whose curves are looked at.
TEST_ROWS = 200
RATES = (3e-5, 1e-4, 3e-4, 1e-3)
USUAL_RATE = 3e-4
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
        stage: `develop`, `few`, `develop-many` or `many`.
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
    seeds: int = max(SEEDS_OF.values())
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
    results: Sequence[Result], methods: Sequence[str], shots: int
) -> dict[str, tuple[float, HeadStart]]:
    """Return the options of each method that were best on the development datasets.

    Rates are chosen at each size: what is best at few rows is not at many.

    Args:
        results: Those of the development stages suffice.
        methods: To choose for; one without any result there takes the usual rate and first head.
        shots: Training rows of each class; 0 for many rows.
    """
    size = shots and max(
        (s for s in DEVELOPMENT_SHOTS if s <= shots), default=min(DEVELOPMENT_SHOTS)
    )
    chosen = {}
    for method in methods:
        means = mean_accuracies(results, method, size)
        options = options_of(method)
        usual = next((o for o in options if o[0] == USUAL_RATE), options[0])
        chosen[method] = max(options, key=lambda option: (means.get(option, -1.0), option == usual))
    return chosen


def only_chosen(results: Sequence[Result], methods: Sequence[str]) -> list[Result]:
    """Leave out what was made on the test datasets with options that are not the chosen ones."""
    sizes = {result.cell.shots for result in results}
    chosen = {shots: chosen_options(results, methods, shots) for shots in sizes}
    return [
        result
        for result in results
        if result.cell.stage in (DEVELOP, DEVELOP_MANY)
        or chosen[result.cell.shots].get(result.cell.method) == (result.cell.rate, result.cell.head)
    ]


def best_meta_learned(results: Sequence[Result], methods: Sequence[str]) -> str | None:
    """Return the meta-learned method that was best on the development datasets, if any was run."""
    learned = [method for method in methods if method in META_LEARNED]
    means = {m: mean_accuracies(results, m, min(DEVELOPMENT_SHOTS)) for m in learned}
    developed = [method for method in learned if means[method]]
    return max(developed, key=lambda method: max(means[method].values()), default=None)


def groups_of(plan: Plan, stage: str, results: Sequence[Result]) -> Iterator[Group]:
    """Yield what is missing of a stage, the cells of one dataset and seed together."""
    known = {result.cell for result in results}
    develops = stage in (DEVELOP, DEVELOP_MANY)
    names = plan.split.development if develops else plan.split.test
    for seed, dataset in product(range(min(SEEDS_OF[stage], plan.seeds)), names):
        for wanted in _cells(stage, dataset, seed, plan, results):
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
    many = not cell.shots
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
    if group.stage in (DEVELOP_MANY, MANY):
        cut = subsample(task, train_rows=MANY_ROWS, test_rows=2 * TEST_ROWS, seed=group.seed)
        return cut.replaced(validation=cut.validation.take([]))
    shots = group.cells[0].shots if group.stage == DEVELOP else max(SHOTS)
    return few_shot_task(
        task, shots=shots, most_ways=MOST_WAYS, test_rows=TEST_ROWS, seed=group.seed
    )


def _cells(
    stage: str, dataset: str, seed: int, plan: Plan, results: Sequence[Result]
) -> list[list[Cell]]:
    """Return what a stage asks of one dataset and seed, in lists that share rows."""
    methods = plan.available()
    if stage == DEVELOP:
        return [_every_option(stage, dataset, seed, shots, methods) for shots in DEVELOPMENT_SHOTS]
    if stage == FEW:
        chosen = {shots: chosen_options(results, methods, shots) for shots in plan.shots}
        return [
            [
                Cell(FEW, dataset, seed, shots, method, *chosen[shots][method])
                for shots in plan.shots
                for method in methods
            ]
        ]
    best = best_meta_learned(results, methods)
    compared = [method for method in methods if method in (PRETRAINED, best)]
    if stage == DEVELOP_MANY:
        return [_every_option(stage, dataset, seed, 0, compared)]
    chosen_at_many = chosen_options(results, compared, 0)
    return [[Cell(MANY, dataset, seed, 0, m, *chosen_at_many[m]) for m in compared]]


def _every_option(
    stage: str, dataset: str, seed: int, shots: int, methods: Sequence[str]
) -> list[Cell]:
    return [
        Cell(stage, dataset, seed, shots, method, rate, head)
        for method in methods
        for rate, head in options_of(method)
    ]


def mean_accuracies(
    results: Sequence[Result], method: str, shots: int
) -> Mapping[tuple[float, HeadStart], float]:
    """Return the mean accuracy of each option of a method over the development datasets.

    Args:
        results: Of any stage.
        method: Whose.
        shots: Training rows of each class; 0 for many rows.
    """
    found: dict[tuple[float, HeadStart], list[float]] = {}
    for result in results:
        cell = result.cell
        is_wanted = cell.stage in (DEVELOP, DEVELOP_MANY) and cell.shots == shots
        if is_wanted and cell.method == method:
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
