"""Leaving out: what models expect of tasks that they, and whatever is tuned with them, never saw.

Leaving one task out means its relatives, too. To tune inside such a fold, other tasks must
be left out of it as well; one fit per *pair* of task groups serves the tuning of both, so
nothing is fitted once per task and tuning step.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metaft.prior.averages import Averages
from metaft.prior.calibration import Calibration, calibrate
from metaft.prior.described import Described
from metaft.prior.outlook import OutcomeModels, Outlook
from metaft.prior.scores import UNTUNED, Tunings
from metaft.prior.table import TraceTable
from metaft.tasks.task import Sort

MOST_GROUPS = 10
"""Tuning inside a fold leaves out groups of tasks; up to this many tasks a group is one task."""

_WORTH_WORKERS_BLOCKS = 24  # below, starting processes takes longer than they save

OnFit = Callable[[], None]


@dataclass(frozen=True, eq=False)
class LeftOut:
    """One block, seen by models that had not seen its task.

    Attributes:
        row: Number of the block in the table.
        averages: Of what was recorded without the task and its relatives.
        outlook: What models expect of it that were fitted without them.
        calibration: Learned without them likewise.
    """

    row: int
    averages: Averages
    outlook: Outlook
    calibration: Calibration


@dataclass(frozen=True, eq=False)
class _World:
    """All blocks, who is related to whom, and which blocks nothing is learned from."""

    table: TraceTable
    rows: Sequence[Described]
    relatives: Mapping[str, frozenset[str]]
    hidden: frozenset[int] = frozenset()

    def fit_without(self, tasks: Iterable[str], tunings: Tunings = UNTUNED) -> OutcomeModels | None:
        """Fit without some tasks and their relatives; None where nothing is left."""
        kept = self.blocks_without(tasks)
        if not kept:
            return None
        return OutcomeModels.fit(self.table.take(kept), [self.rows[at] for at in kept], tunings)

    def blocks_without(self, tasks: Iterable[str]) -> list[int]:
        """Return the blocks of all tasks but some and their relatives, and none that is hidden."""
        gone = with_relatives(tasks, self.relatives)
        blocks = enumerate(self.table.blocks)
        return [at for at, block in blocks if block.task not in gone and at not in self.hidden]

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
    calls = [(world, (task,), tunings.get(task, UNTUNED)) for task in table.tasks]
    found = []
    for task, look in zip(table.tasks, _look_at_all(calls, on_fit), strict=True):
        if look is None:
            continue
        calibration = _calibrate_without(world, task, groups, pairs)
        averages = Averages.of(table.take(world.blocks_without([task])))
        for at, outlook in look.outlooks.items():
            found.append(LeftOut(at, averages, outlook, calibration))
    return sorted(found, key=lambda left: left.row)


def leave_out_hidden(
    table: TraceTable,
    rows: Sequence[Described],
    relatives: Mapping[str, frozenset[str]],
    left_out: Sequence[LeftOut],
    hidden: Iterable[int],
    *,
    on_fit: OnFit | None = None,
) -> list[LeftOut]:
    """Look at blocks by models that have seen neither their tasks nor any block like them.

    Args:
        table: All blocks.
        rows: Their descriptions, in the same order.
        relatives: Task -> its relatives.
        left_out: From `leave_each_out`; the trust in the models is taken from there.
        hidden: Numbers of the blocks that are asked about and never learned from.
        on_fit: Called after every fit, `count_hidden_fits` times.

    Returns:
        One per hidden block; none of a task without which nothing would be left.
    """
    world = _World(table, rows, relatives, frozenset(hidden))
    asked = {left.row: left for left in left_out if left.row in world.hidden}
    groups = group_tasks(table.tasks, relatives)
    tunings: dict[str, Tunings] = {}
    looks = _look_at_all([(world, group, UNTUNED) for group in groups], on_fit)
    for group, look in zip(groups, looks, strict=True):
        if look:
            tunings |= dict.fromkeys(group, look.tunings)
    tasks = sorted({table.blocks[at].task for at in asked} & tunings.keys())
    calls = [(world, (task,), tunings[task]) for task in tasks]
    found = []
    for task, look in zip(tasks, _look_at_all(calls, on_fit), strict=True):
        averages = Averages.of(table.take(world.blocks_without([task])))
        for at, outlook in (look.outlooks if look else {}).items():
            if at in asked:
                found.append(LeftOut(at, averages, outlook, asked[at].calibration))
    return sorted(found, key=lambda left: left.row)


def count_hidden_fits(tasks: Sequence[str], relatives: Mapping[str, frozenset[str]]) -> int:
    """Return how many fits `leave_out_hidden` makes at most."""
    return len(group_tasks(tasks, relatives)) + len(tasks)


def calibrate_all(
    table: TraceTable, left_out: Sequence[LeftOut], *, width_elsewhere: float = math.nan
) -> dict[Sort, Calibration]:
    """Learn how far to trust models of all tasks, for each sort that was left out.

    The weight is at most the median of those that were chosen inside the folds: one that
    leaving out a single task would take away is luck, and the figures of the validation
    are those of the weights inside the folds.

    Args:
        table: All blocks.
        left_out: From `leave_each_out`.
        width_elsewhere: `Calibration.relative_width_elsewhere`, from hiding backbones and sizes.
    """
    seen = table.take([left.row for left in left_out])
    outlooks = [left.outlook for left in left_out]
    weights: dict[Sort, list[float]] = {}
    for left in left_out:
        weights.setdefault(table.blocks[left.row].sort, []).append(left.calibration.weight)
    found = {
        sort: calibrate(seen, outlooks, sort=sort, most_weight=float(np.median(own)))
        for sort, own in weights.items()
    }
    return {
        sort: dataclasses.replace(calibration, relative_width_elsewhere=width_elsewhere)
        for sort, calibration in (found or {"classes": calibrate(seen, [])}).items()
    }


def calibration_figures(
    table: TraceTable, left_out: Sequence[LeftOut], *, width_elsewhere: float = math.nan
) -> dict[str, Any]:
    """Return what a prior stores of `calibrate_all`: that of the main sort, and of others."""
    found = {
        sort: _stored(calibration)
        for sort, calibration in calibrate_all(
            table, left_out, width_elsewhere=width_elsewhere
        ).items()
    }
    main = table.main_sort if table.main_sort in found else next(iter(found))
    figures: dict[str, Any] = {"calibration": found.pop(main)}
    return figures | ({"calibrations": found} if found else {})


def _stored(calibration: Calibration) -> dict[str, Any]:
    """Return its values; JSON has one null, which here stands for what was not measured."""
    values = dataclasses.asdict(calibration)
    if math.isinf(calibration.relative_width_elsewhere):
        values["relative_width_elsewhere"] = "inf"
    return values


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
    pairs = list(itertools.combinations_with_replacement(range(len(groups)), 2))
    calls = [(world, tuple({*groups[one], *groups[other]}), UNTUNED) for one, other in pairs]
    seen: _Seen = {}
    tunings: dict[str, Tunings] = {}
    for (one, other), look in zip(pairs, _look_at_all(calls, on_fit), strict=True):
        if look is None:
            continue
        seen[one, other] = seen[other, one] = look.outlooks
        if one == other:
            tunings |= dict.fromkeys(groups[one], look.tunings)
    return seen, tunings


@dataclass(frozen=True, eq=False)
class _Look:
    """What models expect of the blocks of some tasks that they were fitted without.

    The models themselves are not kept: a hundred of them would fill the memory.
    """

    outlooks: dict[int, Outlook]
    tunings: Tunings


_Call = tuple[_World, tuple[str, ...], Tunings]


def _look_at_all(calls: Sequence[_Call], on_fit: OnFit | None) -> Iterator[_Look | None]:
    """Fit and look, in the order of the calls; on all cores where there is much to fit."""
    from joblib import Parallel, delayed

    blocks = len(calls[0][0].table.blocks) if calls else 0
    workers = os.cpu_count() if blocks >= _WORTH_WORKERS_BLOCKS else 1
    looks = Parallel(n_jobs=workers, return_as="generator")(
        delayed(_look_without)(*call) for call in calls
    )
    for look in looks:
        if on_fit:
            on_fit()
        yield look


def _look_without(world: _World, tasks: tuple[str, ...], tunings: Tunings) -> _Look | None:
    """Look at the blocks of some tasks; None where nothing would be left to fit to."""
    models = world.fit_without(tasks, tunings)
    if models is None:
        return None
    outlooks = {at: models.look_at(world.rows[at]) for at in world.blocks_of(tasks)}
    return _Look(outlooks, models.scores.tunings)


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
    seen = world.table.take(np.array(list(looks), dtype=int))
    (sort,) = {world.table.blocks[at].sort for at in world.blocks_of([task])}
    return calibrate(seen, list(looks.values()), sort=sort)
