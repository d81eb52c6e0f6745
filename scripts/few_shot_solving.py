"""Make the cells of the comparison of initialisations.

All cells of a group share the encoded rows and the states below the frozen depth, which no method
changes.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

from few_shot_cells import (
    BACKBONE,
    DEVELOP,
    DEVELOP_MANY,
    DEVELOPMENT_SHOTS,
    FEW,
    LAYERED,
    LOOK_ROWS,
    LOOK_SEEDS,
    LOOKS,
    MANY,
    MANY_ROWS,
    MANY_STEPS,
    MOST_WAYS,
    PRETRAINED,
    RECIPE,
    SEEDS_OF,
    SHOTS,
    SIMPLE,
    STEPS,
    TEST_ROWS,
    Cell,
    Plan,
    Result,
    options_of,
)
from few_shot_choice import best_meta_learned, chosen_options

from metaft.backbones.backbone import Backbone
from metaft.backbones.load import load_backbone
from metaft.metalearning.adapting import FewShotProblem, check_frozen_alike
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


@dataclass(frozen=True)
class Group:
    """Cells that share rows."""

    stage: str
    dataset: str
    seed: int
    cells: tuple[Cell, ...]


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
