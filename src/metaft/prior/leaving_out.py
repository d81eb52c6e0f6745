"""Leaving out: what models expect of tasks that they, and whatever is tuned with them, never saw.

Leaving one task out means its relatives, too. To tune inside such a fold, other tasks must
be left out of it as well; one fit per *pair* of task groups serves the tuning of both, so
nothing is fitted once per task and tuning step.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metaft.prior.calibration import Calibration, calibrate
from metaft.prior.described import Described
from metaft.prior.outlook import OutcomeModels, Outlook
from metaft.prior.scores import UNTUNED, Tunings
from metaft.prior.table import TraceTable

MOST_GROUPS = 10
"""Tuning inside a fold leaves out groups of tasks; up to this many tasks a group is one task."""

OnFit = Callable[[], None]


@dataclass(frozen=True, eq=False)
class LeftOut:
    """One block, seen by models that had not seen its task.

    Attributes:
        row: Number of the block in the table.
        models: Fitted without the task and its relatives.
        outlook: What they expect of it.
        calibration: Learned without them likewise.
    """

    row: int
    models: OutcomeModels
    outlook: Outlook
    calibration: Calibration


@dataclass(frozen=True, eq=False)
class _World:
    """All blocks, and who is related to whom."""

    table: TraceTable
    rows: Sequence[Described]
    relatives: Mapping[str, frozenset[str]]

    def fit_without(self, tasks: Iterable[str], tunings: Tunings = UNTUNED) -> OutcomeModels | None:
        """Fit without some tasks and their relatives; None where nothing is left."""
        kept = self.blocks_without(tasks)
        if not kept:
            return None
        return OutcomeModels.fit(self.table.take(kept), [self.rows[at] for at in kept], tunings)

    def blocks_without(self, tasks: Iterable[str]) -> list[int]:
        """Return the blocks of all tasks but some and their relatives."""
        gone = with_relatives(tasks, self.relatives)
        return [at for at, block in enumerate(self.table.blocks) if block.task not in gone]

    def blocks_of(self, tasks: Iterable[str]) -> list[int]:
        """Return the blocks of some tasks."""
        wanted = set(tasks)
        return [at for at, block in enumerate(self.table.blocks) if block.task in wanted]


def leave_each_out(
    table: TraceTable,
    rows: Sequence[Described],
    relatives: Mapping[str, frozenset[str]],
    *,
    on_fit: OnFit | None = None,
) -> list[LeftOut]:
    """Leave out every task in turn.

    Args:
        table: All blocks.
        rows: Their descriptions, in the same order.
        relatives: Task -> its relatives.
        on_fit: Called after every fit, `count_fits` times at most.

    Returns:
        One per block, in the order of the blocks; blocks of a task without which nothing
        would be left are missing.
    """
    world = _World(table, rows, relatives)
    groups = group_tasks(table.tasks, relatives)
    pairs, tunings = _look_pairwise(world, groups, on_fit)
    found = []
    for task in table.tasks:
        models = world.fit_without([task], tunings.get(task, UNTUNED))
        _tell(on_fit)
        if models is None:
            continue
        calibration = _calibrate_without(world, task, groups, pairs)
        for at in world.blocks_of([task]):
            found.append(LeftOut(at, models, models.look_at(rows[at]), calibration))
    return sorted(found, key=lambda left: left.row)


def calibrate_all(table: TraceTable, left_out: Sequence[LeftOut]) -> Calibration:
    """Learn how far to trust models of all tasks.

    The weight is at most the median of those that were chosen inside the folds: one that
    leaving out a single task would take away is luck, and the figures of the validation
    are those of the weights inside the folds.

    Args:
        table: All blocks.
        left_out: From `leave_each_out`.
    """
    seen = table.take([left.row for left in left_out])
    weights = [left.calibration.weight for left in left_out]
    return calibrate(
        seen,
        [left.outlook for left in left_out],
        most_weight=float(np.median(weights)) if weights else 0.0,
    )


def count_fits(tasks: Sequence[str], relatives: Mapping[str, frozenset[str]]) -> int:
    """Return how many fits `leave_each_out` makes."""
    groups = len(group_tasks(tasks, relatives))
    return groups + groups * (groups - 1) // 2 + len(tasks)


def with_relatives(tasks: Iterable[str], relatives: Mapping[str, frozenset[str]]) -> set[str]:
    """Return tasks and everything that is related to one of them."""
    named = set(tasks)
    return named.union(*(relatives.get(task, frozenset()) for task in named))


def group_tasks(
    tasks: Sequence[str], relatives: Mapping[str, frozenset[str]]
) -> list[tuple[str, ...]]:
    """Spread tasks over groups of like size, relatives together where they fit.

    Args:
        tasks: Sorted names.
        relatives: Task -> its relatives.

    Returns:
        At most `MOST_GROUPS` groups; every task is in one.
    """
    most = -(-len(tasks) // MOST_GROUPS)
    groups: list[list[str]] = []
    waiting = list(tasks)
    while waiting:
        related = relatives.get(waiting[0], frozenset())
        kin = [task for task in waiting[1:] if task in related][: most - 1]
        groups.append([waiting[0], *kin])
        waiting = [task for task in waiting[1:] if task not in kin]
    return _merged(groups, most)


def _merged(groups: list[list[str]], most: int) -> list[tuple[str, ...]]:
    """Put small groups together, beyond `most` tasks only where there is no other way."""
    merged: list[list[str]] = []
    for group in sorted(groups, key=len, reverse=True):
        if len(merged) < MOST_GROUPS:
            merged.append(list(group))
        else:
            room = [other for other in merged if len(other) + len(group) <= most]
            min(room or merged, key=len).extend(group)
    return [tuple(group) for group in merged]


_Seen = dict[tuple[int, int], dict[int, Outlook]]


def _look_pairwise(
    world: _World, groups: Sequence[tuple[str, ...]], on_fit: OnFit | None
) -> tuple[_Seen, dict[str, Tunings]]:
    """Look at the blocks of two groups by models without both.

    Returns:
        (group, group) -> block of either -> what is expected of it; and task -> the tunings
        that were found without its whole group, so without the task.
    """
    seen: _Seen = {}
    tunings: dict[str, Tunings] = {}
    for one, other in itertools.combinations_with_replacement(range(len(groups)), 2):
        left_out = {*groups[one], *groups[other]}
        models = world.fit_without(left_out)
        _tell(on_fit)
        if models is not None:
            blocks = world.blocks_of(left_out)
            looks = {at: models.look_at(world.rows[at]) for at in blocks}
            seen[one, other] = seen[other, one] = looks
            if one == other:
                tunings |= dict.fromkeys(groups[one], models.scores.tunings)
    return seen, tunings


def _calibrate_without(
    world: _World, task: str, groups: Sequence[tuple[str, ...]], pairs: _Seen
) -> Calibration:
    """Learn how far to trust models, from tasks other than one and its relatives."""
    group_of = {name: at for at, group in enumerate(groups) for name in group}
    own = group_of[task]
    looks = {
        at: pairs[own, group_of[world.table.blocks[at].task]][at]
        for at in world.blocks_without([task])
        if (own, group_of[world.table.blocks[at].task]) in pairs
    }
    return calibrate(world.table.take(np.array(list(looks), dtype=int)), list(looks.values()))


def _tell(on_fit: OnFit | None) -> None:
    if on_fit:
        on_fit()
