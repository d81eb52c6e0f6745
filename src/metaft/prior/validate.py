"""Validation: what a prior is worth on tasks it has not seen, beside its rivals.

The unit is a task. It is left out with its relatives; everything that is fitted, scaled,
tuned or calibrated stays inside the fold. An oracle is picked on one half of the test rows
and scored on the other, and the halves change places.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metaft.prior.calibration import per_task, recorded_choice
from metaft.prior.described import Described
from metaft.prior.leaving_out import LeftOut, OnFit, count_fits, leave_each_out
from metaft.prior.rivals import METHODS, Chooser, Chosen, full_budgets
from metaft.prior.table import TraceTable

FLOOR_POINTS = 3.0
"""Where best and median are closer than this, no recipe matters and a ratio means nothing."""

CONTROLS = 3
"""Times that the features are shuffled across tasks for the negative control."""

COMPARED = ("plain", "best-average", "best-average-of-all")


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
    judged = _judge_all(table, left_out)
    tasks = [table.blocks[left.row].task for left in left_out]
    figures = {
        "tasks": len(set(tasks)),
        "blocks": len(left_out),
        "methods": {name: _summarise(values, tasks) for name, values in judged.items()},
        "comparisons": _compare(judged, tasks),
        "control": _control(table, rows, relatives, on_fit),
        "interval": _check_intervals(table, left_out),
        "training_seconds": _check_costs(table.train_seconds, left_out, "training_seconds"),
        "peak_memory_mib": _check_costs(table.peak_memory_mib, left_out, "peak_memory_mib"),
        "weights_in_folds": [left.calibration.weight for left in left_out],
    }
    return figures, left_out


def count_validation_fits(tasks: Sequence[str], relatives: Mapping[str, frozenset[str]]) -> int:
    """Return how many fits `validate` makes at most, for a progress bar."""
    return (1 + CONTROLS) * count_fits(tasks, relatives)


_Figures = dict[str, np.ndarray]


def _judge_all(table: TraceTable, left_out: Sequence[LeftOut]) -> dict[str, _Figures]:
    """Return method -> figures, of those methods that can choose for every block."""
    judged = {name: _judge(table, left_out, chooser) for name, chooser in METHODS.items()}
    return {name: figures for name, figures in judged.items() if figures is not None}


def _judge(table: TraceTable, left_out: Sequence[LeftOut], chooser: Chooser) -> _Figures | None:
    """Return figure -> `(blocks,)`; None where the method can choose nothing for some block."""
    chosen = [chooser(table, left) for left in left_out]
    known = [choice for choice in chosen if choice is not None]
    if not known or len(known) < len(chosen):
        return None
    judged = [_judge_one(table, left.row, c) for left, c in zip(left_out, known, strict=True)]
    return {name: np.array([figures[name] for figures in judged]) for name in judged[0]}


def _judge_one(table: TraceTable, row: int, chosen: Chosen) -> dict[str, float]:
    plain_seconds = table.run_seconds[row, table.space.plain]
    regret, normalised = _regret(table, row, chosen.cells)
    return {
        "points": float(table.test[row, chosen.cells].mean()),
        "regret": regret,
        "normalised_regret": normalised,
        "relative_seconds": chosen.run_seconds / plain_seconds,
        "failed": float(np.nanmean(table.failed[row, chosen.cells])),
    }


def _regret(table: TraceTable, row: int, cells: np.ndarray) -> tuple[float, float]:
    """Return the regret in points and its ratio, averaged over both orders of the halves."""
    recorded = np.flatnonzero(np.isfinite(table.test[row]))
    regrets, ratios = [], []
    for picking, scoring in ((table.half_a, table.half_b), (table.half_b, table.half_a)):
        best = recorded[np.argmax(picking[row, recorded])]
        regret = scoring[row, best] - scoring[row, cells].mean()
        median = np.median(scoring[row, full_budgets(table, row)])
        regrets.append(regret)
        ratios.append(regret / max(FLOOR_POINTS, scoring[row, best] - median))
    return float(np.mean(regrets)), float(np.mean(ratios))


def _summarise(figures: _Figures, tasks: Sequence[str]) -> dict[str, float]:
    return {name: _mean(per_task(values, tasks)) for name, values in figures.items()}


def _compare(judged: Mapping[str, _Figures], tasks: Sequence[str]) -> dict[str, Any]:
    """Test the learned choice against the rivals that matter, on points per task."""
    from metaft.significance import compare_paired, holm

    if "learned" not in judged:
        return {}
    ours = per_task(judged["learned"]["points"], tasks)
    compared = {
        rival: compare_paired(ours, per_task(judged[rival]["points"], tasks))
        for rival in COMPARED
        if rival in judged
    }
    adjusted = holm([c.wilcoxon.p_value for c in compared.values()])
    return {
        f"learned - {rival}": {
            "mean_points": comparison.mean_difference,
            "mean_low": comparison.mean_interval.low,
            "mean_high": comparison.mean_interval.high,
            "t_test_p": comparison.t_test.p_value,
            "wilcoxon_p": comparison.wilcoxon.p_value,
            "wilcoxon_p_holm": p_value,
            "effect_size": comparison.effect_size,
            "shift": comparison.shift,
            "win_tie_loss": list(dataclasses.astuple(comparison.win_tie_loss)),
        }
        for (rival, comparison), p_value in zip(compared.items(), adjusted, strict=True)
    }


def _control(
    table: TraceTable,
    rows: Sequence[Described],
    relatives: Mapping[str, frozenset[str]],
    on_fit: OnFit | None,
) -> dict[str, Any]:
    """Shuffle the features across tasks: what the prior still gains, features did not give."""
    gains: dict[str, list[float]] = {"learned": [], "surrogate": []}
    for seed in range(CONTROLS):
        shuffled = shuffle_features(rows, seed)
        left_out = leave_each_out(table, shuffled, relatives, on_fit=on_fit)
        tasks = [table.blocks[left.row].task for left in left_out]
        average = _judge(table, left_out, METHODS["best-average"])
        for name, values in gains.items():
            judged = _judge(table, left_out, METHODS[name])
            if judged is not None and average is not None:
                values.append(_mean(per_task(judged["points"] - average["points"], tasks)))
    return {
        "shuffles": CONTROLS,
        **{f"{name}_gain_points": values for name, values in gains.items()},
    }


def shuffle_features(rows: Sequence[Described], seed: int) -> list[Described]:
    """Give every block the features of another task's block of the same backbone and size."""
    rng = np.random.default_rng(seed)
    shuffled = list(rows)
    alike: dict[tuple[str, int], list[int]] = {}
    for at, row in enumerate(rows):
        alike.setdefault((row.backbone, round(math.log2(row.train_rows))), []).append(at)
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
        error = abs(float(table.test[left.row, cell] - left.outlook.scores(weight)[cell]))
        covered.append(error <= left.calibration.half_width)
        widths.append(left.calibration.half_width)
        errors.append(error)
    tasks = [table.blocks[left.row].task for left in left_out]
    return {
        "coverage": _mean(per_task(covered, tasks)) if covered else math.nan,
        "mean_half_width": _mean(widths),
        "mean_absolute_error": _mean(per_task(errors, tasks)) if errors else math.nan,
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


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Return the mean of what is known; NaN where nothing is."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else math.nan
