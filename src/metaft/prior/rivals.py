"""Rivals: the other ways of choosing a recipe that a prior must beat on the same traces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from metaft.prior.choice import Goal, rank_cells
from metaft.prior.leaving_out import LeftOut
from metaft.prior.scores import mean_known
from metaft.prior.table import TraceTable
from metaft.recipes import PLAIN

SEARCH_DRAWS = 200
"""Random searches are repeated this often, since one is luck."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """What a method takes for one block.

    Attributes:
        cells: `(draws,)` the cell it ends with, once per repetition.
        run_seconds: Mean time of all the runs it makes.
    """

    cells: np.ndarray
    run_seconds: float


Chooser = Callable[[TraceTable, LeftOut], Chosen | None]


def take_plain(table: TraceTable, left: LeftOut) -> Chosen | None:
    """Take 5e-5, three epochs, nothing frozen."""
    plain = table.space.plain
    return _one(table, left, plain) if np.isfinite(table.test[left.row, plain]) else None


def take_best_average(table: TraceTable, left: LeftOut) -> Chosen | None:
    """Take the best mean over the training blocks most alike in backbone and size."""
    return _best(table, left, left.outlook.average)


def take_best_average_of_all(table: TraceTable, left: LeftOut) -> Chosen | None:
    """Take the best mean over all training blocks."""
    return _best(table, left, mean_known(left.models.scores.effects, 0))


def take_best_learning_rate(table: TraceTable, left: LeftOut) -> Chosen | None:
    """Take the learning rate with the best mean, everything else as in `plain`."""
    cells = table.space.cells
    rates = [dataclasses.replace(PLAIN, learning_rate=cell.learning_rate) for cell in cells]
    is_default = np.array([cell == rate for cell, rate in zip(cells, rates, strict=True)])
    return _best(table, left, np.where(is_default, left.outlook.average, np.nan))


def nearest_neighbours(count: int) -> Chooser:
    """Return the chooser of the best mean over the nearest training tasks."""

    def take(table: TraceTable, left: LeftOut) -> Chosen | None:
        model = left.models.scores
        nearest = list(left.outlook.distances)[:count]
        alike = model.alike(table.blocks[left.row].backbone, table.blocks[left.row].train_rows)
        near = np.array([block.task in nearest for block in model.blocks]) & alike
        return _best(table, left, mean_known(model.effects[near], 0)) if near.any() else None

    return take


def random_search(trials: int) -> Chooser:
    """Return the chooser that tries random recipes and keeps the best on validation."""

    def take(table: TraceTable, left: LeftOut) -> Chosen | None:
        full = full_budgets(table, left.row)
        if len(full) < trials or np.isnan(table.validation[left.row, full]).any():
            return None
        rng = np.random.default_rng([trials, left.row])
        draws = np.array([rng.permutation(full)[:trials] for _ in range(SEARCH_DRAWS)])
        best = table.validation[left.row][draws].argmax(1)
        seconds = table.run_seconds[left.row][full]
        known = seconds[np.isfinite(seconds)]
        mean_seconds = float(known.mean()) if len(known) else np.nan
        return Chosen(draws[np.arange(len(draws)), best], trials * mean_seconds)

    return take


def learned(goal: Goal) -> Chooser:
    """Return the prior itself, trusted as far as its calibration says."""

    def take(table: TraceTable, left: LeftOut) -> Chosen | None:
        return _ask(table, left, goal, left.calibration.weight_at(left.outlook.distance))

    return take


def take_surrogate(table: TraceTable, left: LeftOut) -> Chosen | None:
    """Take what the surrogate says, whatever its calibration is."""
    return _ask(table, left, "score", 1.0)


METHODS: dict[str, Chooser] = {
    "learned": learned("score"),
    "learned-cost": learned("cost"),
    "surrogate": take_surrogate,
    "plain": take_plain,
    "best-average": take_best_average,
    "best-average-of-all": take_best_average_of_all,
    "best-learning-rate": take_best_learning_rate,
    "1-nn": nearest_neighbours(1),
    "10-nn": nearest_neighbours(10),
    "random-4": random_search(4),
    "random-8": random_search(8),
}
"""Name -> how it chooses."""


def full_budgets(table: TraceTable, row: int) -> np.ndarray:
    """Return the recorded cells of a block that are at the largest budget of their family."""
    recorded = np.flatnonzero(np.isfinite(table.test[row]))
    families, epochs = table.space.families, table.space.epochs
    largest: dict[int, int] = {}
    for cell in recorded.tolist():
        family = int(families[cell])
        if family not in largest or epochs[cell] > epochs[largest[family]]:
            largest[family] = cell
    return np.array(sorted(largest.values()), dtype=int)


def _ask(table: TraceTable, left: LeftOut, goal: Goal, weight: float) -> Chosen:
    allowed = np.isfinite(table.test[left.row])
    order = rank_cells(left.outlook, table.space, weight=weight, goal=goal, allowed=allowed)
    return _one(table, left, order[0])


def _best(table: TraceTable, left: LeftOut, value: np.ndarray) -> Chosen | None:
    """Take the recorded cell with the highest value; None where no value is known."""
    known = np.where(np.isfinite(table.test[left.row]), value, np.nan)
    return None if np.isnan(known).all() else _one(table, left, int(np.nanargmax(known)))


def _one(table: TraceTable, left: LeftOut, cell: int) -> Chosen:
    return Chosen(np.array([cell]), float(table.run_seconds[left.row, cell]))
