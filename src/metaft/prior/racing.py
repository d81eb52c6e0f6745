"""Racing on recorded traces: start the best few recipes, go on with the leader after an epoch.

It costs an epoch of every recipe that is given up, and needs no features: what it learns of the
task, it learns from the validation rows. `metaft.finetuning.race` does it for real, by the same
rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metaft.finetuning.lead import RACERS, winner_of
from metaft.prior.calibration import choosable
from metaft.prior.choice import one_per_family, rank_cells
from metaft.prior.chosen import Chooser, Chosen
from metaft.prior.leaving_out import LeftOut
from metaft.prior.searches import find_portfolio, known_seconds
from metaft.prior.space import Space
from metaft.prior.table import TraceTable


def race(table: TraceTable, row: int, ranked: Sequence[int], *, racers: int = RACERS) -> Chosen:
    """Race recipes on a recorded block.

    Args:
        table: The traces.
        row: Number of the block.
        ranked: Recorded cells of different families, the one expected to be best first; the
            winner runs to its own budget.
        racers: How many of them start, >= 1.

    Returns:
        The winner, and what its run and the first epochs of the others take.
    """
    starting = list(ranked[:racers])
    first = [first_epoch_of(cell, table.space) for cell in starting]
    winner = winner_of(table.validation[row, first].tolist())
    losers = [at for at in range(len(starting)) if at != winner]
    seconds = known_seconds(table, row)[[starting[winner], *(first[at] for at in losers)]]
    epochs = table.space.epochs
    shares = sum(epochs[first[at]] / epochs[starting[at]] for at in losers)
    return Chosen(np.array([starting[winner]]), float(seconds.sum()), 1.0 + float(shares))


def first_epoch_of(cell: int, space: Space) -> int:
    """Return the cell of the same curve after one epoch, or the first epoch that there is."""
    same_curve = np.flatnonzero(space.families == space.families[cell])
    return int(same_curve[np.argmin(space.epochs[same_curve])])


def race_average(racers: int = RACERS) -> Chooser:
    """Return the chooser that races the recipes that are best on average."""

    def take(table: TraceTable, left: LeftOut) -> Chosen | None:
        recorded = np.isfinite(table.test[left.row])
        average = np.where(recorded, left.outlook.average, -np.inf)
        ranked = one_per_family(average, table.space)
        return race(table, left.row, ranked, racers=racers) if ranked else None

    return take


def race_portfolio(racers: int) -> Chooser:
    """Return the chooser that races the recipes that together leave least regret elsewhere."""

    def take(table: TraceTable, left: LeftOut) -> Chosen | None:
        ranked = find_portfolio(table, left, racers).tolist()
        return race(table, left.row, ranked, racers=racers) if ranked else None

    return take


def race_learned(racers: int = RACERS) -> Chooser:
    """Return the chooser that races the recipes that the prior suggests first."""

    def take(table: TraceTable, left: LeftOut) -> Chosen | None:
        weight = left.calibration.weight_at(left.outlook.distance)
        allowed = choosable(table, left.row, left.outlook)
        ranked = rank_cells(left.outlook, table.space, weight=weight, goal="score", allowed=allowed)
        return race(table, left.row, ranked, racers=racers) if ranked else None

    return take
