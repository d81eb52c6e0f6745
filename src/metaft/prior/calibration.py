"""Calibration: how far the surrogate is trusted, and how wide an honest interval is.

Everything here is learned from predictions for tasks that were left out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaft.prior.choice import rank_cells
from metaft.prior.outlook import Outlook
from metaft.prior.profiles import kept_points
from metaft.prior.table import TraceTable
from metaft.tasks.task import Sort

WEIGHTS = (0.25, 0.5, 0.75, 1.0)
"""Weights of the surrogate that are tried beside 0."""

INTERVAL_LEVEL = 0.9

_NEAR_LEVEL = 0.9  # quantile of the distances that leave-one-out has seen
_CERTAIN_POINTS = 5.0  # scores nearer to 0 or 100 are known as well as these
_STANDARD_ERRORS = 2.0  # by which a weight must predict better; less is often luck


@dataclass(frozen=True, slots=True)
class Calibration:
    """What leave-one-out allows.

    Attributes:
        weight: Of the surrogate near the training tasks, in [0, 1].
        near: Up to this distance to the nearest training task the weight is whole.
        far: From this distance on it is 0; in between it falls in a straight line.
        relative_width: Half the 90 % interval of a score, over the usual error of scores as
            high as it (`usual_error`); infinite below 9 tasks.
        relative_width_elsewhere: The same for a backbone or a size that was never recorded;
            NaN where only one of each was, so that nobody knows.
    """

    weight: float
    near: float
    far: float
    relative_width: float
    relative_width_elsewhere: float = math.nan

    def weight_at(self, distance: float) -> float:
        """Return the weight of the surrogate for a task at some distance."""
        if distance <= self.near:
            return self.weight
        if distance >= self.far:
            return 0.0
        return self.weight * (self.far - distance) / (self.far - self.near)

    def half_width_at(self, points: float, *, is_elsewhere: bool = False) -> float:
        """Return half the width of the 90 % interval around an expected score, in points.

        Args:
            points: The expected score.
            is_elsewhere: Whether its backbone or its size was never recorded.
        """
        width = self.relative_width
        if is_elsewhere and not math.isnan(self.relative_width_elsewhere):
            width = max(width, self.relative_width_elsewhere)
        return width * usual_error(points)


def calibrate(
    table: TraceTable,
    outlooks: Sequence[Outlook],
    *,
    sort: Sort = "classes",
    most_weight: float = 1.0,
) -> Calibration:
    """Learn from predictions for left-out blocks.

    The surrogate counts only where it predicts the profiles of left-out tasks better than what
    is pooled without features does, by more than two standard errors; else its weight is 0.
    All cells of a task tell that, so a dozen tasks tell more of it than their chosen cells
    would. The interval is conformal: the quantile of the errors for the chosen recipe, each
    task counting once. Both are learned from blocks of one sort, for a model may know much of
    classes and little of tags; an interval that needs more tasks than that sort has is
    learned from all.

    Args:
        table: The blocks.
        outlooks: What was expected of each block by models that had not seen its task.
        sort: Of the tasks that are asked about; all blocks count where none is of it.
        most_weight: The weight is cut to this, in [0, 1].

    Returns:
        No trust and no interval where there is no block.
    """
    if not outlooks:
        return Calibration(weight=0.0, near=0.0, far=0.0, relative_width=math.inf)
    every = list(range(len(outlooks)))
    own = [at for at in every if table.blocks[at].sort == sort] or every
    near = float(np.quantile([outlooks[at].distance for at in own], _NEAR_LEVEL))
    weight = _choose_weight(table.take(own), [outlooks[at] for at in own])
    calibration = Calibration(min(most_weight, weight), near, 2.0 * near, math.inf)
    errors = np.array(
        [
            relative_error(table, row, outlook, calibration.weight_at(outlook.distance))
            for row, outlook in enumerate(outlooks)
        ]
    )
    tasks = tasks_of(table)
    widths = (
        conformal_half_width(errors[chosen], [tasks[at] for at in chosen])
        for chosen in (own, every)
    )
    width = next((width for width in widths if math.isfinite(width)), math.inf)
    return dataclasses.replace(calibration, relative_width=width)


def usual_error(points: float) -> float:
    """Return the error that scores as high as one usually have, but for a constant factor.

    It is the deviation of a share: 95 points are known better than 50. Without it the width
    that the hardest tasks need would be that of every interval.

    Args:
        points: Expected score, 100 is perfect.
    """
    kept = min(100.0 - _CERTAIN_POINTS, max(_CERTAIN_POINTS, points))
    return math.sqrt(kept * (100.0 - kept))


def conformal_half_width(errors: np.ndarray, tasks: Sequence[str]) -> float:
    """Return the half-width that holds 90 % of the errors of a task not seen before.

    Args:
        errors: `(blocks,)` absolute errors.
        tasks: Task of each block; every task counts once, however many blocks it has.

    Returns:
        Infinity where there are too few tasks (fewer than 9) to promise that.

    Source:
        Vovk, Gammerman & Shafer (2005), Algorithmic Learning in a Random World; the weights
        of blocks as in Barber et al. (2023), Conformal prediction beyond exchangeability.
    """
    shares = {task: 1.0 / tasks.count(task) for task in tasks}
    order = np.argsort(errors, kind="stable")
    reached = np.cumsum([shares[tasks[at]] for at in order])
    needed = INTERVAL_LEVEL * (len(shares) + 1)
    enough = np.flatnonzero(reached >= needed - 1e-9)
    return float(errors[order[enough[0]]]) if len(enough) else math.inf


def tasks_of(table: TraceTable) -> list[str]:
    """Return the task of each block."""
    return [block.task for block in table.blocks]


def choosable(table: TraceTable, row: int, outlook: Outlook) -> np.ndarray:
    """Return which cells `(cells,)` a suggestion for a block can be judged by.

    They are recorded for it, and for some training block: a prior without the one has no such cell,
    so where sizes or backbones are hidden with all their recipes none of these may be taken.
    """
    known: np.ndarray = np.isfinite(table.test[row]) & outlook.is_recorded
    return known


def recorded_choice(table: TraceTable, row: int, outlook: Outlook, weight: float) -> int:
    """Return the cell that would be suggested for a block, among those recorded for it."""
    allowed = choosable(table, row, outlook)
    return rank_cells(outlook, table.space, weight=weight, goal="score", allowed=allowed)[0]


def relative_error(table: TraceTable, row: int, outlook: Outlook, weight: float) -> float:
    """Return how far off the chosen recipe's score was, over its usual error."""
    chosen = recorded_choice(table, row, outlook, weight)
    expected = float(outlook.scores(weight)[chosen])
    return abs(float(table.test[row, chosen]) - expected) / usual_error(expected)


def per_task(values: Sequence[float] | np.ndarray, tasks: Sequence[str]) -> np.ndarray:
    """Average the values of blocks over each task's blocks, tasks in order of their names."""
    known = np.asarray(values, dtype=np.float64)
    owners = np.asarray(tasks)
    return np.array([known[owners == task].mean() for task in sorted(set(tasks))])


def _choose_weight(table: TraceTable, outlooks: Sequence[Outlook]) -> float:
    """Return the weight with which left-out profiles are predicted best, if that is no luck."""
    alone = _errors(table, outlooks, 0.0)
    gains = {weight: alone - _errors(table, outlooks, weight) for weight in WEIGHTS}
    sound = {weight: gain.mean() for weight, gain in gains.items() if _is_believable(gain)}
    return max(sound, key=lambda weight: sound[weight], default=0.0)


def _is_believable(gain: np.ndarray) -> bool:
    if len(gain) < 2:
        return False
    standard_error = gain.std(ddof=1) / math.sqrt(len(gain))
    return bool(gain.mean() > _STANDARD_ERRORS * standard_error)


def _errors(table: TraceTable, outlooks: Sequence[Outlook], weight: float) -> np.ndarray:
    """Return the mean squared error of the expected profiles `(tasks,)`, in squared points."""
    errors = []
    for scores, outlook in zip(table.test, outlooks, strict=True):
        known = np.isfinite(scores)
        truth = kept_points(scores[known])
        expected = outlook.kept_effects(weight)[known]
        errors.append(float(np.var(truth - expected)))
    return per_task(errors, tasks_of(table))
