"""Learning curves: the test score after every epoch, averaged over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from metaft.comparing.protocol import ComparisonPlan, PlannedTask
from metaft.comparing.scoring import RowCounts, cumulative_seconds
from metaft.prior.suggestion import Prediction
from metaft.tasks.task import Metric
from metaft.traces.trace import Trace


@dataclass(frozen=True, eq=False)
class MethodCurve:
    """How one method learned one task.

    Attributes:
        method: Its name.
        epochs: `(epochs,)` 1, 2, ...
        seconds: `(epochs,)` mean wall seconds from the beginning to the end of each.
        mean: `(epochs,)` mean test score over the seeds.
        low, high: `(epochs,)` lowest and highest score of a seed.
        chosen_epoch, chosen_seconds: Where validation stopped, mean over the seeds.
        chosen_score: Test score there, mean over the seeds: what counts.
        budget: Epochs that the recipe allows; the most of any seed's where a search found them.
        predicted: What the method expected of its recipe; None where it expects nothing.
        seeds: Runs that ended well; those that failed are not drawn.
    """

    method: str
    epochs: np.ndarray
    seconds: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    chosen_epoch: float
    chosen_seconds: float
    chosen_score: float
    budget: int
    predicted: Prediction | None
    seeds: int


@dataclass(frozen=True, eq=False)
class TaskCurves:
    """How all methods learned one task."""

    task: str
    metric: Metric
    methods: tuple[MethodCurve, ...]


def gather_curves(plan: ComparisonPlan, traces: Mapping[str, Trace]) -> list[TaskCurves]:
    """Average the curves of every task; one without a run that ended well has no methods.

    Runs that stopped early are averaged over the epochs that all seeds have.
    """
    return [
        TaskCurves(
            task.name,
            task.metric,
            tuple(
                _curve(task, method, ended)
                for method in plan.methods
                if (ended := _ended_well(task, method, plan.seeds, traces))
            ),
        )
        for task in plan.tasks
    ]


def _ended_well(
    task: PlannedTask, method: str, seeds: int, traces: Mapping[str, Trace]
) -> list[Trace]:
    keys = [task.trace_ids.get((method, seed), "") for seed in range(seeds)]
    return [traces[key] for key in keys if key in traces and traces[key].status == "ok"]


def _curve(task: PlannedTask, method: str, traces: Sequence[Trace]) -> MethodCurve:
    choice = task.choices[method]
    budgets = [task.recipe_of(method, trace.seed) or choice.recipe for trace in traces]
    return average_curve(
        method,
        traces,
        metric=task.metric,
        rows=task.rows,
        budget=max(recipe.epochs for recipe in budgets),
        predicted=choice.predicted,
    )


def average_curve(
    method: str,
    traces: Sequence[Trace],
    *,
    metric: Metric,
    rows: RowCounts,
    budget: int,
    predicted: Prediction | None = None,
) -> MethodCurve:
    """Average the curves of runs that ended well, over the epochs that all of them have.

    Args:
        method: What the runs have in common.
        traces: At least one.
        metric: What is drawn.
        rows: Of each run.
        budget: Epochs that the recipe allows.
        predicted: What was expected, if anything was.
    """
    shortest = min(len(trace.curve) for trace in traces)
    scores = np.array([[epoch.test[metric] for epoch in one.curve[:shortest]] for one in traces])
    seconds = [cumulative_seconds(trace, rows) for trace in traces]
    chosen = [trace.best_epoch for trace in traces]
    return MethodCurve(
        method=method,
        epochs=np.arange(1, shortest + 1),
        seconds=np.mean([seen[:shortest] for seen in seconds], axis=0),
        mean=scores.mean(axis=0),
        low=scores.min(axis=0),
        high=scores.max(axis=0),
        chosen_epoch=fmean(chosen),
        chosen_seconds=fmean(seen[epoch - 1] for seen, epoch in zip(seconds, chosen, strict=True)),
        chosen_score=fmean(trace.test[metric] for trace in traces),
        budget=budget,
        predicted=predicted,
        seeds=len(traces),
    )
