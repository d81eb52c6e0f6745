"""TraceTable: what the traces say, one row per block and one column per cell.

A *block* is one task at one size on one backbone. A *cell* is a recipe with its epoch budget:
the curve of a run with a constant schedule fills the cells of every smaller budget, too. The
score of a cell is that of the model the run returns, the one after the epoch that is best on
the validation rows; so a longer budget is never a free look at the test rows.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metaft.errors import PriorError
from metaft.prior.machines import Machine
from metaft.prior.space import Space, cuts_of, without_seed
from metaft.recipes import Recipe
from metaft.tasks.task import Sort, sort_of
from metaft.traces.trace import TEST_ROWS, VALIDATION_ROWS, Trace

MEASURES = (
    "test",
    "validation",
    "half_a",
    "half_b",
    "train_seconds",
    "run_seconds",
    "peak_memory_mib",
    "failed",
)


_VALIDATION_SHARE = VALIDATION_ROWS / (VALIDATION_ROWS + TEST_ROWS)  # of the rows scored


@dataclass(frozen=True, slots=True, order=True)
class Block:
    """One task at one size on one backbone.

    Attributes:
        task, backbone: Names.
        train_rows: Training rows of a run.
        sort: What the task's rows are answered with.
    """

    task: str
    backbone: str
    train_rows: int
    sort: Sort = "classes"

    @classmethod
    def of(cls, trace: Trace) -> Block:
        """Return the block that a run was made on."""
        return cls(trace.task, trace.backbone, trace.train_rows, sort_of(trace.kind))

    @property
    def likes(self) -> tuple[str, int, Sort]:
        """Return what blocks of one backbone, sort and about the same size share."""
        return self.backbone, round(math.log2(self.train_rows)), self.sort


@dataclass(frozen=True, eq=False)
class TraceTable:
    """What the traces say; every array is `(blocks, cells)`, NaN where nothing was recorded.

    Attributes:
        blocks: Its rows.
        space: Its columns.
        test, validation, half_a, half_b: Mean primary score over the seeds, in points (100
            is perfect), on the test rows, the validation rows and two halves of the test rows.
            Where halves were not scored apart, both are all test rows: an oracle then
            flatters itself, and every regret is too large.
        train_seconds: Time of the training steps, were the core not shared with others, on the
            machine that most runs were made on; seconds of others are not comparable.
        run_seconds: Time of the training steps, of the pass of the training and the validation
            rows through frozen blocks and of the validation scores, on any machine. What only a
            recording needs, the test scores of every epoch, does not count. It is compared
            within a block alone.
        peak_memory_mib: Peak memory of the run, in a process of its own.
        failed: Share of the seeds whose run had failed by then.
        left_out: Blocks without some recipe that others like them have, so not in the table.
    """

    blocks: tuple[Block, ...]
    space: Space
    test: np.ndarray
    validation: np.ndarray
    half_a: np.ndarray
    half_b: np.ndarray
    train_seconds: np.ndarray
    run_seconds: np.ndarray
    peak_memory_mib: np.ndarray
    failed: np.ndarray
    left_out: tuple[Block, ...] = ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Return the names of the tasks, sorted."""
        return tuple(sorted({block.task for block in self.blocks}))

    @property
    def main_sort(self) -> Sort:
        """Return the sort that most tasks are of, the one of the figures over all blocks.

        The goals are in points, and where rows are answered with tags the plain recipe lies so
        far behind that a few such tasks would meet every goal.
        """
        sorts = dict.fromkeys((block.task, block.sort) for block in self.blocks)
        ((sort, _),) = Counter(sort for _, sort in sorts).most_common(1)
        return sort

    def take(self, rows: Sequence[int] | np.ndarray) -> TraceTable:
        """Return the table of some blocks."""
        chosen = {name: getattr(self, name)[rows] for name in MEASURES}
        return dataclasses.replace(self, blocks=tuple(self.blocks[at] for at in rows), **chosen)


def tabulate(traces: Iterable[Trace]) -> TraceTable:
    """Lay traces out as a table.

    Args:
        traces: Runs, scored on the test rows after every epoch.

    Raises:
        PriorError: If no two recipes were recorded on the same block.
    """
    traces = list(traces)
    memory_of = _MemoryOfOneRun.among(traces)
    machine = Machine.commonest(traces) if traces else None
    runs: dict[Block, dict[Recipe, list[_Run]]] = defaultdict(lambda: defaultdict(list))
    for trace in traces:
        block = Block.of(trace)
        run = _Run(trace, memory_of(trace), is_priced=Machine.of(trace) == machine)
        runs[block][without_seed(trace.recipe)].append(run)
    complete = {block: recipes for block, recipes in runs.items() if len(recipes) > 1}
    while lacking := _incomplete(complete):  # Without these another recipe may be usual.
        complete = {block: complete[block] for block in complete.keys() - set(lacking)}
    kept = sorted(complete)
    if not kept:
        raise PriorError(
            f"the {sum(map(len, runs.values()))} recorded recipes are too few to learn from: no "
            "task has two of them",
            "Record more with metaft meta-train --stages traces --recipes 12",
        )
    space = Space.of({recipe for block in kept for recipe in complete[block]})
    columns = {cell: at for at, cell in enumerate(space.cells)}
    arrays = {name: np.full((len(kept), len(columns)), np.nan) for name in MEASURES}
    for row, block in enumerate(kept):
        for cell, values in _measure(complete[block]).items():
            for name, value in values.items():
                arrays[name][row, columns[cell]] = value
    left_out = tuple(sorted(set(runs) - set(kept)))
    return TraceTable(blocks=tuple(kept), space=space, left_out=left_out, **arrays)


@dataclass(frozen=True)
class _MemoryOfOneRun:
    """The peak memory that a run has in a process of its own.

    A process that recorded others before still holds what they needed: what it held at the
    start is replaced by the least that any process held there. Where that is known of some
    runs, the peaks of the others tell nothing.

    Attributes:
        least_mib: Backbone -> the least memory that a process held before a run on it.
    """

    least_mib: Mapping[str, float]

    @classmethod
    def among(cls, traces: Sequence[Trace]) -> _MemoryOfOneRun:
        """Look at what the processes held before."""
        least: dict[str, float] = {}
        for trace in traces:
            before = trace.costs.memory_before_mib
            if before is not None:
                least[trace.backbone] = min(before, least.get(trace.backbone, math.inf))
        return cls(least)

    def __call__(self, trace: Trace) -> float:
        """Return MiB; NaN where it is not known."""
        least, before = self.least_mib.get(trace.backbone), trace.costs.memory_before_mib
        if least is None:
            return trace.costs.peak_memory_mib
        return math.nan if before is None else trace.costs.peak_memory_mib - before + least


class _Run:
    """One trace, read at any epoch budget; its seconds may tell the price of a step, or not."""

    def __init__(self, trace: Trace, peak_memory_mib: float, *, is_priced: bool) -> None:
        self.trace = trace
        self.peak_memory_mib = peak_memory_mib
        self.is_priced = is_priced
        metric, curve = trace.metric, trace.curve
        self.epochs = [record.epoch for record in curve]
        self.validation = [_points(record.validation.get(metric)) for record in curve]
        self.test = [_points(record.test.get(metric)) for record in curve]
        both = [(record.test.get(metric),) * 2 for record in curve]
        self.halves = [r.test_halves or whole for r, whole in zip(curve, both, strict=True)]
        busy = _busy_share(trace)
        self.seconds = np.cumsum([busy * record.train_seconds for record in curve]).tolist()
        scored = [_VALIDATION_SHARE * busy * record.evaluation_seconds for record in curve]
        self.scoring_seconds = np.cumsum(scored).tolist()
        rows = trace.train_rows + VALIDATION_ROWS
        share = rows / (rows + TEST_ROWS)
        self.seconds_before = share * busy * (trace.prefix_seconds or 0.0)

    @property
    def lowest(self) -> float:
        """Return the worst test score of the curve; NaN without one."""
        return min(self.test, default=math.nan)

    def tells(self, epochs: int) -> bool:
        """Say whether a budget's outcome is known: it is not in a gap of the curve."""
        return epochs in self.epochs or epochs > max(self.epochs, default=0)

    def at(self, epochs: int, guess: float) -> dict[str, float]:
        """Return the measures at a budget; `guess` is the score of a run without an epoch."""
        done = sum(epoch <= epochs for epoch in self.epochs)
        failed = self.trace.status != "ok" and epochs not in self.epochs
        known = done > 0 and not failed
        seconds = self.seconds[done - 1] if known else math.nan
        scoring_seconds = self.scoring_seconds[done - 1] if known else math.nan
        measures = {
            "train_seconds": seconds if self.is_priced else math.nan,
            "run_seconds": seconds + scoring_seconds + self.seconds_before,
            "peak_memory_mib": self.peak_memory_mib,
            "failed": float(failed),
        }
        if not done:
            scores = dict.fromkeys(("test", "validation", "half_a", "half_b"), guess)
            return measures | scores
        best = int(np.argmax(self.validation[:done]))
        return measures | {
            "test": self.test[best],
            "validation": self.validation[best],
            "half_a": _points(self.halves[best][0]),
            "half_b": _points(self.halves[best][1]),
        }


def _busy_share(trace: Trace) -> float:
    """Return the share of its epochs' time that a one-thread worker had a core for itself.

    Measured on the epochs: a machine that was asleep between them was not busy otherwise.
    """
    measured = sum(record.train_seconds + record.evaluation_seconds for record in trace.curve)
    if trace.device != "cpu" or not measured > 0:
        return 1.0
    return min(1.0, trace.costs.cpu_seconds / measured)


def _points(score: float | None) -> float:
    """Return points: NaN where nothing was scored, 0 for a correlation that is not defined."""
    if score is None:
        return math.nan
    return 100.0 * score if math.isfinite(score) else 0.0


def _incomplete(runs: Mapping[Block, Mapping[Recipe, object]]) -> list[Block]:
    """Return the blocks without a recipe that most blocks like them have."""
    groups: dict[tuple[object, ...], list[Block]] = defaultdict(list)
    for block in runs:
        groups[block.likes].append(block)
    incomplete = []
    for blocks in groups.values():
        every = {recipe for block in blocks for recipe in runs[block]}
        usual = {r for r in every if 2 * sum(r in runs[b] for b in blocks) > len(blocks)}
        incomplete += [block for block in blocks if not usual <= set(runs[block])]
    return incomplete


def _measure(recipes: Mapping[Recipe, Sequence[_Run]]) -> dict[Recipe, dict[str, float]]:
    """Return the measures of every cell of a block, averaged over the seeds."""
    guess = float(np.nanmin([run.lowest for runs in recipes.values() for run in runs] + [math.inf]))
    guess = guess if math.isfinite(guess) else 0.0
    found: dict[Recipe, list[dict[str, float]]] = defaultdict(list)
    for recipe, runs in recipes.items():
        for cell in cuts_of(recipe):
            found[cell] += [run.at(cell.epochs, guess) for run in runs if run.tells(cell.epochs)]
    return {cell: _mean(measures) for cell, measures in found.items() if measures}


def _mean(measures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average over the seeds, leaving out what is unknown."""
    known = {name: [m[name] for m in measures if not math.isnan(m[name])] for name in MEASURES}
    return {name: sum(v) / len(v) if v else math.nan for name, v in known.items()}
