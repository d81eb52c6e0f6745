"""Rivals: the other ways of choosing a recipe that a prior must beat on the same traces."""

from __future__ import annotations

import dataclasses

import numpy as np

from metaft.prior.averages import mean_known
from metaft.prior.calibration import choosable
from metaft.prior.choice import Goal, rank_cells
from metaft.prior.chosen import Chooser, Chosen, take_highest, take_one
from metaft.prior.leaving_out import LeftOut
from metaft.prior.racing import race_average, race_learned, race_portfolio
from metaft.prior.searches import halving_search, portfolio_search, random_search
from metaft.prior.table import TraceTable
from metaft.prior.tpe import tpe_search
from metaft.recipes import PLAIN


def take_plain(table: TraceTable, left: LeftOut) -> Chosen | None:
    """Take 5e-5, three epochs, nothing frozen."""
    plain = table.space.plain
    return take_one(table, left, plain) if np.isfinite(table.test[left.row, plain]) else None


def take_best_average(table: TraceTable, left: LeftOut) -> Chosen | None:
    """Take the best mean over the training blocks most alike in sort, backbone and size."""
    return take_highest(table, left, left.outlook.average)


def take_best_average_of_all(table: TraceTable, left: LeftOut) -> Chosen | None:
    """Take the best mean over all training blocks."""
    return take_highest(table, left, mean_known(left.averages.effects, 0))


def take_best_learning_rate(table: TraceTable, left: LeftOut) -> Chosen | None:
    """Take the learning rate with the best mean, everything else as in `plain`."""
    cells = table.space.cells
    rates = [dataclasses.replace(PLAIN, learning_rate=cell.learning_rate) for cell in cells]
    is_default = np.array([cell == rate for cell, rate in zip(cells, rates, strict=True)])
    return take_highest(table, left, np.where(is_default, left.outlook.average, np.nan))


def nearest_neighbours(count: int) -> Chooser:
    """Return the chooser of the best mean over the nearest training tasks.

    Tasks count that have a block alike in sort, backbone and size, so that there always are some.
    """

    def take(table: TraceTable, left: LeftOut) -> Chosen | None:
        model = left.averages
        alike = model.alike(table.blocks[left.row])
        owners = np.array([block.task for block in model.blocks])
        known = set(owners[alike].tolist())
        nearest = [task for task in left.outlook.distances if task in known][:count]
        near = np.isin(owners, nearest) & alike
        return take_highest(table, left, mean_known(model.effects[near], 0))

    return take


def learned(goal: Goal) -> Chooser:
    """Return the prior itself, trusted as far as its calibration says."""

    def take(table: TraceTable, left: LeftOut) -> Chosen | None:
        return _ask(table, left, goal, left.calibration.weight_at(left.outlook.distance))

    return take


def take_surrogate(table: TraceTable, left: LeftOut) -> Chosen | None:
    """Take what the surrogate says, whatever its calibration is."""
    return _ask(table, left, "score", 1.0)


def take_pooled(table: TraceTable, left: LeftOut) -> Chosen | None:
    """Take what the prior falls back on: it knows size and backbone, but no other feature."""
    return _ask(table, left, "score", 0.0)


OWN: dict[str, Chooser] = {
    "learned": learned("score"),
    "learned-cost": learned("cost"),
    "learned-race": race_learned(),
    "surrogate": take_surrogate,
    "pooled": take_pooled,
}
"""What the prior itself answers: name -> how it chooses."""

ONE_RUN: dict[str, Chooser] = {
    "plain": take_plain,
    "best-average": take_best_average,
    "best-average-of-all": take_best_average_of_all,
    "best-learning-rate": take_best_learning_rate,
    "1-nn": nearest_neighbours(1),
    "10-nn": nearest_neighbours(10),
}
"""Rivals that make one run, as the prior does."""

SEARCHES: dict[str, Chooser] = {
    "cost-aware-3": halving_search(3),
    "cost-aware-9": halving_search(9),
    "portfolio-4": portfolio_search(4),
    "portfolio-race-2": race_portfolio(2),
    "race-3": race_average(3),
    "random-4": random_search(4),
    "random-8": random_search(8),
    "random-16": random_search(16),
    "tpe-4": tpe_search(4),
    "tpe-8": tpe_search(8),
    "tpe-16": tpe_search(16),
}
"""Rivals that look at the validation scores of several runs first."""

METHODS: dict[str, Chooser] = {**OWN, **ONE_RUN, **SEARCHES}
"""Name -> how it chooses."""


def _ask(table: TraceTable, left: LeftOut, goal: Goal, weight: float) -> Chosen:
    allowed = choosable(table, left.row, left.outlook)
    order = rank_cells(left.outlook, table.space, weight=weight, goal=goal, allowed=allowed)
    return take_one(table, left, order[0])
