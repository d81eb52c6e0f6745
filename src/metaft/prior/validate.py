"""Validation: what a prior is worth on tasks it has not seen, beside its rivals.

The unit is a task. It is left out with its relatives; everything that is fitted, scaled,
tuned or calibrated stays inside the fold.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metaft.prior.calibration import per_task, recorded_choice
from metaft.prior.comparisons import compare_methods, compare_race, compare_slices, rank_methods
from metaft.prior.described import Described
from metaft.prior.goals import judge_goals
from metaft.prior.judging import Judged, judge_methods, mean_of_known
from metaft.prior.leaving_out import LeftOut, OnFit, count_fits, leave_each_out
from metaft.prior.rivals import METHODS
from metaft.prior.table import Block, TraceTable
from metaft.prior.transfer import count_transfer_fits, judge_transfer
from metaft.significance import paired_t_test
from metaft.tasks.task import Sort

CONTROLS = 3
"""Times that the features are shuffled across tasks for the negative control."""

FEWEST_TASKS_OF_A_SLICE = 5
"""Of a backbone and size; fewer are judged within the whole mixture alone."""


def validate(
    table: TraceTable,
    rows: Sequence[Described],
    relatives: Mapping[str, frozenset[str]],
    *,
    on_fit: OnFit | None = None,
) -> tuple[dict[str, Any], list[LeftOut]]:
    """Judge the prior that these traces and features give.

    Args:
        table: The traces.
        rows: Description of each block, in the same order.
        relatives: Task -> its relatives.
        on_fit: Called after every fit, `count_validation_fits` times at most.

    Returns:
        The figures as plain values (see the README of a prior for what they mean), and the
        blocks as the left-out models saw them.
    """
    left_out = leave_each_out(table, rows, relatives, on_fit=on_fit)
    by_sort = _by_sort(table, left_out)
    judged_of = {sort: judge_methods(table, own, METHODS) for sort, own in by_sort.items()}
    main = table.main_sort
    judged = judged_of.get(main, Judged((), {}))
    slices = [part for sort, own in by_sort.items() for part in _slice(table, own, judged_of[sort])]
    figures = {
        "sort": main,
        "tasks": len(set(judged.tasks)),
        "blocks": len(judged.tasks),
        "methods": judged.means(),
        "comparisons": compare_methods(judged),
        "race": compare_race(judged),
        "ranks": rank_methods(judged),
        "slices": _judge_slices(table, slices),
        "transfer": judge_transfer(table, rows, relatives, left_out, on_fit=on_fit),
        "control": _control(table, rows, relatives, on_fit),
        "interval": _check_intervals(table, left_out),
        "training_seconds": _check_costs(table.train_seconds, left_out, "training_seconds"),
        "peak_memory_mib": _check_costs(table.peak_memory_mib, left_out, "peak_memory_mib"),
        "weights_in_folds": [left.calibration.weight for left in left_out],
    }
    figures["goals"] = [dataclasses.asdict(goal) for goal in judge_goals(figures)]
    return figures, left_out


def count_validation_fits(table: TraceTable, relatives: Mapping[str, frozenset[str]]) -> int:
    """Return how many fits `validate` makes at most, for a progress bar."""
    whole = (1 + CONTROLS) * count_fits(table.tasks, relatives)
    return whole + count_transfer_fits(table, relatives)


def _by_sort(table: TraceTable, left_out: Sequence[LeftOut]) -> dict[Sort, list[LeftOut]]:
    """Part the blocks by sort: recipes may be recorded for one sort that others lack."""
    parts: dict[Sort, list[LeftOut]] = {}
    for left in left_out:
        parts.setdefault(table.blocks[left.row].sort, []).append(left)
    return parts


_Slice = tuple[list[LeftOut], Judged]


def _slice(table: TraceTable, left_out: Sequence[LeftOut], judged: Judged) -> list[_Slice]:
    """Part blocks, and what was judged on them, by backbone, size and sort."""
    slices: dict[tuple[str, int, Sort], list[int]] = {}
    for at, left in enumerate(left_out):
        slices.setdefault(table.blocks[left.row].likes, []).append(at)
    return [([left_out[at] for at in own], judged.take(own)) for _, own in sorted(slices.items())]


def _judge_slices(table: TraceTable, slices: Sequence[_Slice]) -> list[dict[str, Any]]:
    """Judge the methods within each slice that has enough tasks."""
    kept = [part for part in slices if len(set(part[1].tasks)) >= FEWEST_TASKS_OF_A_SLICE]
    compared = compare_slices([judged for _, judged in kept])
    return [
        {
            **_name_slice([table.blocks[left.row] for left in own]),
            "tasks": len(set(judged.tasks)),
            "methods": judged.means(),
            "learned - average": against_average,
            "coverage": _check_intervals(table, own)["coverage"],
        }
        for (own, judged), against_average in zip(kept, compared, strict=True)
    ]


def _name_slice(blocks: Sequence[Block]) -> dict[str, Any]:
    backbone = blocks[0].backbone
    ((rows, _),) = Counter(block.train_rows for block in blocks).most_common(1)
    sort = blocks[0].sort
    name = f"{backbone.rpartition('/')[2]}, {rows:,} rows"
    if sort != "classes":
        name += f", {sort}"
    return {"slice": name, "backbone": backbone, "train_rows": rows, "sort": sort}


def _control(
    table: TraceTable,
    rows: Sequence[Described],
    relatives: Mapping[str, frozenset[str]],
    on_fit: OnFit | None,
) -> dict[str, Any]:
    """Shuffle the features across tasks: what the prior still gains, features did not give.

    The gain is on what is pooled without features; best-average would also be beaten by what
    sizes and backbones lend to each other, and that is no merit of the features.
    """
    gains: dict[str, list[np.ndarray]] = {"learned": [], "surrogate": []}
    methods = {name: METHODS[name] for name in ("pooled", *gains)}
    for seed in range(CONTROLS):
        shuffled = shuffle_features(rows, seed)
        left_out = leave_each_out(table, shuffled, relatives, on_fit=on_fit)
        left_out = _by_sort(table, left_out).get(table.main_sort, [])
        judged = judge_methods(table, left_out, methods)
        for name, found in gains.items():
            if {name, "pooled"} <= judged.figures.keys():
                pooled = judged.per_task("pooled", "points")
                found.append(judged.per_task(name, "points") - pooled)
    figures: dict[str, Any] = {"shuffles": CONTROLS}
    for name, found in gains.items():
        figures[f"{name}_gain_points"] = [float(gain.mean()) for gain in found]
        # A task's gains are averaged over the shuffles: they are no tasks of their own.
        mean = np.mean(found, axis=0) if found else np.empty(0)
        figures[f"{name}_gain_p"] = paired_t_test(mean, "greater").p_value
    return figures


def shuffle_features(rows: Sequence[Described], seed: int) -> list[Described]:
    """Shuffle the features among blocks that are alike otherwise; chance lets some keep theirs."""
    rng = np.random.default_rng(seed)
    shuffled = list(rows)
    alike: dict[tuple[str, int, Sort], list[int]] = {}
    for at, row in enumerate(rows):
        alike.setdefault(row.block.likes, []).append(at)
    for group in alike.values():
        for at, other in zip(group, rng.permutation(group).tolist(), strict=True):
            shuffled[at] = dataclasses.replace(rows[at], values=rows[other].values)
    return shuffled


def _check_intervals(table: TraceTable, left_out: Sequence[LeftOut]) -> dict[str, float]:
    """Count how often the interval of the suggested recipe held its score."""
    covered, widths, errors = [], [], []
    for left in left_out:
        weight = left.calibration.weight_at(left.outlook.distance)
        cell = recorded_choice(table, left.row, left.outlook, weight)
        expected = float(left.outlook.scores(weight)[cell])
        error = abs(float(table.test[left.row, cell]) - expected)
        widths.append(left.calibration.half_width_at(expected))
        covered.append(error <= widths[-1])
        errors.append(error)
    tasks = [table.blocks[left.row].task for left in left_out]
    return {
        "coverage": mean_of_known(per_task(covered, tasks)) if covered else math.nan,
        "mean_half_width": mean_of_known(widths),
        "mean_absolute_error": mean_of_known(per_task(errors, tasks)) if errors else math.nan,
    }


def _check_costs(
    observed: np.ndarray, left_out: Sequence[LeftOut], expected: str
) -> dict[str, float]:
    """Return the median relative error of the predictions for the recorded cells."""
    errors = []
    for left in left_out:
        truth = observed[left.row]
        relative = np.abs(getattr(left.outlook, expected) / truth - 1.0)
        errors += relative[np.isfinite(relative)].tolist()
    return {"median_relative_error": float(np.median(errors)) if errors else math.nan}
