"""Results: what each method reached on each task, averaged over seeds."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metaft.comparing.choice import Choice
from metaft.comparing.protocol import ComparisonPlan, PlannedTask
from metaft.comparing.scoring import halves_of, score_of, seconds_of, spent_seconds
from metaft.finetuning.outcome import Status
from metaft.prior.suggestion import Prediction
from metaft.recipes import Recipe
from metaft.tasks.task import Kind, Metric
from metaft.traces.trace import Trace

POINTS = 100.0
"""Points per unit of a score: an accuracy of 0.75 is 75 points."""


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One run.

    Attributes:
        seed: Of the run and of its training rows.
        trace_id: Key of its trace.
        status: `ok`, or how it ended early.
        reason: Why, where it is not `ok`.
        score: On the test rows; that of a guess where the run failed.
        score_halves: The same on the two fixed halves of the test rows.
        seconds: See `metaft.comparing.scoring`, with the first epochs that lost a race, and with
            all trials of a search; NaN where the run failed.
        peak_memory_mib: Highest memory, MiB.
        tried: Runs that stand behind it: 1, or the racers, or the trials of a search.
        found: The recipe that a search found; None where nothing was searched.
    """

    seed: int
    trace_id: str
    status: Status
    reason: str
    score: float
    score_halves: tuple[float, float]
    seconds: float
    peak_memory_mib: float
    tried: int = 1
    found: Recipe | None = None


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One method on one task.

    Attributes:
        method: Its name.
        recipe: What it chose; where recipes raced, the one that was expected to win; of a
            search, what its trials had in common.
        note: Why it fell back on something simpler; empty where it did not.
        predicted: What it expected; None where it expects nothing.
        score: Mean over the seeds.
        spread: Standard deviation over the seeds; NaN for one seed.
        difference_points: Mean score less that of the reference, in points.
        regret_points: How far it lies below the best of the methods, in points. The best is
            picked on one half of the test rows and scored on the other, then the halves
            change places; so a method may lie above.
        seconds: Mean over the seeds whose runs ended well; NaN where none did.
        failures: Runs that did not end well.
        runs: One per seed.
    """

    method: str
    recipe: Recipe
    note: str
    predicted: Prediction | None
    score: float
    spread: float
    difference_points: float
    regret_points: float
    seconds: float
    failures: int
    runs: tuple[SeedResult, ...]


@dataclass(frozen=True, slots=True)
class TaskResult:
    """All methods on one task.

    Attributes:
        task, kind, metric: Of the task.
        backbone: What was fine-tuned.
        train_rows, test_rows: Rows of each run.
        guess_score: What a failed run counts.
        is_seen: Whether a method had learned from this task or a relative; such tasks are
            left out of the headline tests.
        seeds: Seeds whose runs are complete.
        results: One per method, in the order of the plan.
    """

    task: str
    kind: Kind
    metric: Metric
    backbone: str
    train_rows: int
    test_rows: int
    guess_score: float
    is_seen: bool
    seeds: tuple[int, ...]
    results: tuple[MethodResult, ...]

    def has(self, method: str) -> bool:
        """Say whether there is a result of a method."""
        return any(result.method == method for result in self.results)

    def of(self, method: str) -> MethodResult:
        """Return the result of a method."""
        return next(result for result in self.results if result.method == method)


def gather_results(
    plan: ComparisonPlan, traces: Mapping[str, Trace], reference: str
) -> tuple[list[TaskResult], dict[str, str]]:
    """Lay out what was reached on every task.

    A seed counts where the runs of all methods are there; a task counts where a seed does.

    Args:
        plan: What was compared.
        traces: Key -> trace, of the runs that are there.
        reference: The method that differences are taken from.

    Returns:
        The tasks that count, and task -> why it does not.
    """
    results, missing = [], dict(plan.left_out)
    for task in plan.tasks:
        seeds = [seed for seed in range(plan.seeds) if _is_complete(task, seed, traces)]
        if seeds:
            results.append(_task_result(task, seeds, traces, reference))
        else:
            missing[task.name] = "no seed has the runs of all methods yet"
    return results, missing


def _is_complete(task: PlannedTask, seed: int, traces: Mapping[str, Trace]) -> bool:
    keys = [task.trace_ids.get((method, seed)) for method in task.choices]
    return all(key in traces for key in keys)


def _task_result(
    task: PlannedTask, seeds: list[int], traces: Mapping[str, Trace], reference: str
) -> TaskResult:
    results = {
        method: _method_result(task, method, choice, seeds, traces)
        for method, choice in task.choices.items()
    }
    base = results[reference].score
    regrets = _regrets(list(results.values()))
    return TaskResult(
        task=task.name,
        kind=task.kind,
        metric=task.metric,
        backbone=task.backbone,
        train_rows=task.rows.train,
        test_rows=task.rows.test,
        guess_score=task.guess_score,
        is_seen=task.is_seen,
        seeds=tuple(seeds),
        results=tuple(
            dataclasses.replace(
                result,
                difference_points=POINTS * (result.score - base),
                regret_points=regret,
            )
            for result, regret in zip(results.values(), regrets, strict=True)
        ),
    )


def _regrets(results: Sequence[MethodResult]) -> list[float]:
    """Return the regret of every method, in points."""
    # (methods, 2): mean over the seeds on either half
    halves = np.array([np.mean([r.score_halves for r in one.runs], axis=0) for one in results])
    best = halves.argmax(axis=0)
    lost = [halves[best[picked], scored] - halves[:, scored] for picked, scored in ((0, 1), (1, 0))]
    return [float(POINTS * value) for value in np.mean(lost, axis=0)]


def _method_result(
    task: PlannedTask, method: str, choice: Choice, seeds: list[int], traces: Mapping[str, Trace]
) -> MethodResult:
    runs = [_seed_result(task, method, seed, traces) for seed in seeds]
    scores = [run.score for run in runs]
    seconds = [run.seconds for run in runs if run.status == "ok"]
    return MethodResult(
        method=method,
        recipe=choice.recipe,
        note=choice.note,
        predicted=choice.predicted,
        score=statistics.fmean(scores),
        spread=statistics.stdev(scores) if len(scores) > 1 else np.nan,
        difference_points=np.nan,
        regret_points=np.nan,
        seconds=statistics.fmean(seconds) if seconds else np.nan,
        failures=len(runs) - len(seconds),
        runs=tuple(runs),
    )


def _seed_result(
    task: PlannedTask, method: str, seed: int, traces: Mapping[str, Trace]
) -> SeedResult:
    trace = traces[task.trace_ids[method, seed]]
    given_up = task.given_up.get((method, seed), ())
    lost = sum(spent_seconds(traces[key], task.rows) for key in given_up)
    return SeedResult(
        seed=trace.seed,
        trace_id=trace.trace_id,
        status=trace.status,
        reason=trace.reason,
        score=score_of(trace, task.guess_score),
        score_halves=halves_of(trace, task.guess_score),
        seconds=task.choices[method].seconds_before + seconds_of(trace, task.rows) + lost,
        peak_memory_mib=trace.costs.peak_memory_mib,
        tried=1 + len(given_up),
        found=task.winners.get((method, seed)) if (method, seed) in task.searches else None,
    )
