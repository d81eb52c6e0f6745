"""Judging: what every method's choices are worth on the blocks that were left out.

An oracle is picked on one half of the test rows and scored on the other, and the halves
change places.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metaft.prior.calibration import per_task
from metaft.prior.chosen import Chooser, Chosen, full_budgets
from metaft.prior.leaving_out import LeftOut
from metaft.prior.table import TraceTable

FLOOR_POINTS = 3.0
"""Where best and median are closer than this, no recipe matters and a ratio means nothing."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The figures of every method on the same blocks.

    Attributes:
        tasks: `(blocks,)` task of each block; figures are averaged within one.
        figures: Method -> figure -> `(blocks,)`.
    """

    tasks: tuple[str, ...]
    figures: Mapping[str, Mapping[str, np.ndarray]]

    def per_task(self, method: str, figure: str) -> np.ndarray:
        """Return a figure `(tasks,)`, tasks in order of their names."""
        return per_task(self.figures[method][figure], self.tasks)

    def means(self) -> dict[str, dict[str, float]]:
        """Return method -> figure -> its mean over the tasks."""
        return {
            method: {name: mean_of_known(self.per_task(method, name)) for name in figures}
            for method, figures in self.figures.items()
        }

    def take(self, at: Sequence[int]) -> Judged:
        """Return the figures on some of the blocks."""
        figures = {
            method: {name: values[list(at)] for name, values in own.items()}
            for method, own in self.figures.items()
        }
        return Judged(tuple(self.tasks[place] for place in at), figures)


def judge_methods(
    table: TraceTable, left_out: Sequence[LeftOut], methods: Mapping[str, Chooser]
) -> Judged:
    """Judge those methods that can choose for every block."""
    figures = {name: _judge(table, left_out, chooser) for name, chooser in methods.items()}
    tasks = tuple(table.blocks[left.row].task for left in left_out)
    return Judged(tasks, {name: found for name, found in figures.items() if found})


def judge_one(table: TraceTable, row: int, chosen: Chosen) -> dict[str, float]:
    """Return what a choice is worth on a block.

    Returns:
        `points` on test; `regret` in points; `normalised_regret`, its ratio to what there was
        to gain; `relative_seconds` of all runs, in runs of plain; `runs`; `failed`, the share
        of the final runs that did.
    """
    regret, normalised = _regret(table, row, chosen.cells)
    return {
        "points": float(table.test[row, chosen.cells].mean()),
        "regret": regret,
        "normalised_regret": normalised,
        "relative_seconds": chosen.run_seconds / table.run_seconds[row, table.space.plain],
        "runs": chosen.runs,
        "failed": float(np.nanmean(table.failed[row, chosen.cells])),
    }


def mean_of_known(values: Iterable[float]) -> float:
    """Return the mean of what is known; NaN where nothing is."""
    known = np.asarray(list(values), dtype=np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else math.nan


def _judge(
    table: TraceTable, left_out: Sequence[LeftOut], chooser: Chooser
) -> dict[str, np.ndarray]:
    """Return figure -> `(blocks,)`; nothing where some block leaves the method no choice."""
    judged = []
    for left in left_out:
        chosen = chooser(table, left)
        if chosen is None:
            return {}
        judged.append(judge_one(table, left.row, chosen))
    return {
        name: np.array([figures[name] for figures in judged]) for name in next(iter(judged), {})
    }


def _regret(table: TraceTable, row: int, cells: np.ndarray) -> tuple[float, float]:
    """Return the regret in points and its ratio, averaged over both orders of the halves."""
    recorded = np.flatnonzero(np.isfinite(table.test[row]))
    full = full_budgets(table, row)
    regrets, ratios = [], []
    for picking, scoring in ((table.half_a, table.half_b), (table.half_b, table.half_a)):
        best = recorded[np.argmax(picking[row, recorded])]
        regret = scoring[row, best] - scoring[row, cells].mean()
        median = np.median(scoring[row, full])
        regrets.append(regret)
        ratios.append(regret / max(FLOOR_POINTS, scoring[row, best] - median))
    return float(np.mean(regrets)), float(np.mean(ratios))
