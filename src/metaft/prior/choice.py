"""The choice: which cell to suggest, given what is expected of every cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from metaft.errors import PriorError
from metaft.prior.outlook import Outlook
from metaft.prior.space import Space

Goal = Literal["score", "cost"]
GOALS: tuple[Goal, ...] = ("score", "cost")

INDIFFERENCE_POINTS = 0.2
"""Scores this close count as equal, and the shorter budget is taken."""

FAILURE_PRICE_POINTS = 10.0
"""What a failed run costs beside its score: the time until somebody looks."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may take; None is no limit."""

    seconds: float | None = None
    memory_mib: float | None = None

    def allow(self, outlook: Outlook) -> np.ndarray:
        """Return which cells fit `(cells,)`.

        Raises:
            PriorError: If none does.
        """
        fits = np.ones(len(outlook.failure), dtype=bool)
        for limit, expected, unit, option in (
            (self.seconds, outlook.run_seconds, "seconds", "--max-time"),
            (self.memory_mib, outlook.peak_memory_mib, "MiB", "--max-memory"),
        ):
            if limit is None:
                continue
            if not (fits & (expected <= limit)).any():
                raise PriorError(
                    f"no recipe fits into {limit:.4g} {unit}: the least that one is expected to "
                    f"take is {expected[fits].min():.4g} {unit}",
                    f"Raise {option}, or give fewer rows",
                )
            fits &= expected <= limit
        return fits


NO_LIMITS = Limits()


def rank_cells(
    outlook: Outlook, space: Space, *, weight: float, goal: Goal, allowed: np.ndarray
) -> list[int]:
    """Rank the cells for a goal; each family of recipes occurs once, at its best budget.

    Goal `score`: the highest expected score, at the worst learning rate nearby, less the price
    of failing; at the earliest epoch that is within 0.2 points of it. Goal `cost`: the
    cheapest whose worth in that sense is no less than what `plain` is expected to score, within
    0.2 points; the answer for `score` and `plain` itself always count as such. Both hold even if
    the cell is overrated by one standard error, since the cheapest of many is.

    Args:
        outlook: What is expected.
        space: The cells.
        weight: Of the surrogate against what is pooled without features, in [0, 1].
        goal: What is sought.
        allowed: `(cells,)` which cells may be chosen; at least one.

    Returns:
        Numbers of cells, best first.
    """
    worth = outlook.worth(weight) - FAILURE_PRICE_POINTS * outlook.failure
    order = [
        _shortened(cell, worth, outlook.doubts(cell, weight), space, allowed)
        for cell in one_per_family(np.where(allowed, worth, -np.inf), space)
    ]
    if goal == "score":
        return order
    plain = (outlook.effects(weight) - FAILURE_PRICE_POINTS * outlook.failure)[space.plain]
    doubts = outlook.doubts(space.plain, weight)
    no_worse = allowed & _is_as_good_as(float(plain), worth, doubts)
    no_worse[order[0]] = True
    no_worse[space.plain] = allowed[space.plain]
    return one_per_family(np.where(no_worse, -outlook.run_seconds, -np.inf), space)


def _is_as_good_as(points: float, worth: np.ndarray, doubts: np.ndarray) -> np.ndarray:
    """Return which cells `(cells,)` are as good as that, beyond one standard error."""
    as_good: np.ndarray = worth - points >= doubts - INDIFFERENCE_POINTS
    return as_good


def one_per_family(value: np.ndarray, space: Space) -> list[int]:
    """Return the best cell of each family that has one, best first."""
    best: dict[int, int] = {}
    for cell in np.argsort(-value, kind="stable").tolist():
        if np.isfinite(value[cell]):
            best.setdefault(int(space.families[cell]), cell)
    return list(best.values())


def _shortened(
    cell: int, worth: np.ndarray, doubts: np.ndarray, space: Space, allowed: np.ndarray
) -> int:
    """Return the earliest budget of the cell's curve that is as good."""
    same_curve = space.families == space.families[cell]
    candidates = np.flatnonzero(allowed & same_curve & _is_as_good_as(worth[cell], worth, doubts))
    return int(candidates[np.argmin(space.epochs[candidates])])
