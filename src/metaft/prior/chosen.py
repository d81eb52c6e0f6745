"""Chosen: what a way of choosing takes for one block; every rival answers with one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from metaft.prior.leaving_out import LeftOut
from metaft.prior.table import TraceTable


@dataclass(frozen=True, eq=False)
class Chosen:
    """What a method takes for one block.

    Attributes:
        cells: `(draws,)` the cell it ends with, once per repetition.
        run_seconds: Mean time of all the runs it makes.
        runs: Runs it makes; one that is cut short counts as the share of its epochs.
    """

    cells: np.ndarray
    run_seconds: float
    runs: float = 1.0


Chooser = Callable[[TraceTable, LeftOut], Chosen | None]


def take_one(table: TraceTable, left: LeftOut, cell: int) -> Chosen:
    """Take one cell."""
    return Chosen(np.array([cell]), float(table.run_seconds[left.row, cell]))


def take_highest(table: TraceTable, left: LeftOut, value: np.ndarray) -> Chosen | None:
    """Take the recorded cell with the highest value; None where no value is known."""
    known = np.where(np.isfinite(table.test[left.row]), value, np.nan)
    return None if np.isnan(known).all() else take_one(table, left, int(np.nanargmax(known)))


def full_budgets(table: TraceTable, row: int) -> np.ndarray:
    """Return the recorded cells of a block that are at the largest budget of their family."""
    recorded = np.flatnonzero(np.isfinite(table.test[row]))
    families, epochs = table.space.families[recorded], table.space.epochs[recorded]
    order = np.lexsort((epochs, families))
    is_last = np.append(np.diff(families[order]) != 0, True)[: len(order)]
    return np.sort(recorded[order[is_last]])
