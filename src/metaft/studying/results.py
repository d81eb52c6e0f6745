"""Results: what every level of every factor reached, task by task.

Levels are compared within blocks. A block is one task, one backbone, one seed and one choice of
levels for all other factors; it counts where the runs of all levels that fit the task are there.
So a level's mean over blocks is one over the same other factors, backbones and seeds as that of
the reference, and the unit of every test is the task.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from metaft.comparing.curves import MethodCurve, TaskCurves, average_curve
from metaft.comparing.results import POINTS, MethodResult, SeedResult, TaskResult
from metaft.comparing.scoring import halves_of, score_of, seconds_of, spent_seconds
from metaft.recipes import Recipe
from metaft.searching.search import SearchResult
from metaft.studying.combining import Levels
from metaft.studying.plan import RunKey, StudyPlan, StudyUnit
from metaft.studying.running import Searches
from metaft.traces.trace import Trace

NEAR_BEST = 0.95


@dataclass(frozen=True, eq=False)
class StudyRun:
    """One run, or one search.

    Attributes:
        unit: Number of the task and backbone in the plan.
        levels: What was run.
        seed: Of the run and of its rows.
        recipe: What was run; of a search its best trial.
        result: Status, score and cost; of a search the cost of all trials.
        trials: Runs behind it: 1, or the trials of a search.
        validation: Validation score after every epoch, of a search those of its best trial; of a
            failed run empty.
        trace: Where it is kept for the curves; else None.
    """

    unit: int
    levels: Levels
    seed: int
    recipe: Recipe
    result: SeedResult
    trials: int
    validation: tuple[float, ...]
    trace: Trace | None


@dataclass(frozen=True, slots=True)
class Convergence:
    """How fast a level learns on one task.

    Attributes:
        epochs: Epochs up to 95 % of the best validation score that any level reached in the
            block, mean over blocks; a run that never gets there counts one more than its epochs.
        never: Share of the runs that never get there, in [0, 1].
    """

    epochs: float
    never: float


@dataclass(frozen=True, eq=False)
class FactorResults:
    """A factor over all tasks.

    Attributes:
        factor: Its name.
        levels: Its levels, the reference first.
        tasks: A result per task; a level that does not fit the task has none there.
        convergence: Task -> level -> how fast it learned.
        curves: Learning curves by task; empty where they were not asked for.
        blocks: Blocks that count.
        open_blocks: Those in which runs are still missing.
    """

    factor: str
    levels: tuple[str, ...]
    tasks: tuple[TaskResult, ...]
    convergence: Mapping[str, Mapping[str, Convergence]]
    curves: tuple[TaskCurves, ...]
    blocks: int
    open_blocks: int


def gather_runs(
    plan: StudyPlan,
    searches: Searches,
    read: Callable[[Sequence[str]], Sequence[Trace]],
) -> list[StudyRun]:
    """Return every run of a plan that is there.

    Args:
        plan: What was run.
        searches: Those that are complete.
        read: Gives the traces of some keys, of those that are stored.
    """
    runs = []
    for at, unit in enumerate(plan.units):
        by_key: dict[str, list[RunKey]] = {}  # Two methods may choose the same recipe.
        for where, key in unit.keys.items():
            by_key.setdefault(key, []).append(where)
        for trace in read(list(by_key)):
            runs += [
                _run_of(at, unit, where, trace, keep=plan.card.convergence)
                for where in by_key[trace.trace_id]
            ]
    for (at, where), found in searches.items():
        trials = read([trial.trace_id for trial in found.trials])
        keep = plan.card.convergence
        runs.append(_search_run_of(at, plan.units[at], where, found, trials, keep=keep))
    return runs


def gather_factor(plan: StudyPlan, factor: str, runs: Sequence[StudyRun]) -> FactorResults:
    """Lay out what the levels of one factor reached.

    Args:
        plan: What was run.
        factor: Its name.
        runs: All that are there.
    """
    place = list(plan.variant.levels).index(factor)
    levels = plan.variant.levels[factor]
    found = {(run.unit, run.levels, run.seed): run for run in runs}
    blocks: dict[str, list[dict[str, StudyRun]]] = {}
    open_blocks = 0
    for at, unit in enumerate(plan.units):
        for wanted in _blocks_of(plan, unit, place):
            block = {
                level: found[at, *where] for level, where in wanted.items() if (at, *where) in found
            }
            if len(block) == len(wanted):
                blocks.setdefault(unit.task, []).append(block)
            else:
                open_blocks += 1
    return FactorResults(
        factor=factor,
        levels=levels,
        tasks=tuple(_task_result(plan, some, levels) for some in blocks.values()),
        convergence={task: _convergence(some, levels) for task, some in blocks.items()},
        curves=tuple(_curves(plan, some, levels) for some in blocks.values())
        if plan.card.convergence
        else (),
        blocks=sum(len(some) for some in blocks.values()),
        open_blocks=open_blocks,
    )


def _blocks_of(plan: StudyPlan, unit: StudyUnit, place: int) -> Iterator[dict[str, RunKey]]:
    """Yield level -> run of every block of a unit in which the levels that fit it are all."""
    by_others: dict[Levels, dict[str, Levels]] = {}
    for levels in unit.arms:
        others = (*levels[:place], *levels[place + 1 :])
        by_others.setdefault(others, {})[levels[place]] = levels
    fitting = {levels[place] for levels in unit.arms}
    if plan.variant.one_at_a_time:
        fitting = {
            levels[place]
            for levels in unit.arms
            if _is_reference(plan, (*levels[:place], *levels[place + 1 :]), place)
        }
    reference = list(plan.variant.levels.values())[place][0]
    if reference not in fitting:
        return
    for seed in range(plan.variant.seeds):
        for found in by_others.values():
            if set(found) == fitting and len(fitting) > 1:
                yield {level: (levels, seed) for level, levels in found.items()}


def _is_reference(plan: StudyPlan, others: Levels, place: int) -> bool:
    firsts = [levels[0] for levels in plan.variant.levels.values()]
    return list(others) == firsts[:place] + firsts[place + 1 :]


def _run_of(at: int, unit: StudyUnit, where: RunKey, trace: Trace, *, keep: bool) -> StudyRun:
    levels, seed = where
    result = SeedResult(
        seed=seed,
        trace_id=trace.trace_id,
        status=trace.status,
        reason=trace.reason,
        score=score_of(trace, unit.guess_score),
        score_halves=halves_of(trace, unit.guess_score),
        seconds=seconds_of(trace, unit.rows),
        peak_memory_mib=trace.costs.peak_memory_mib,
    )
    is_ok = trace.status == "ok"
    scores = tuple(epoch.validation[trace.metric] for epoch in trace.curve) if is_ok else ()
    kept = trace if keep and is_ok else None
    return StudyRun(at, levels, seed, trace.recipe, result, 1, scores, kept)


def _search_run_of(
    at: int,
    unit: StudyUnit,
    where: RunKey,
    found: SearchResult,
    trials: Sequence[Trace],
    *,
    keep: bool,
) -> StudyRun:
    """Return what the best trial reached, at the cost of all of them.

    Where none ended well, it is a failed run, which counts as a guess.
    """
    best = next(trace for trace in trials if trace.trace_id == found.best.trace_id)
    run = _run_of(at, unit, where, best, keep=keep)
    others = sum(spent_seconds(trace, unit.rows) for trace in trials if trace is not best)
    peaks = [trace.costs.peak_memory_mib for trace in trials]
    result = dataclasses.replace(
        run.result,
        score=found.best.test if best.status == "ok" else run.result.score,
        seconds=run.result.seconds + others,
        peak_memory_mib=max(filter(math.isfinite, peaks), default=math.nan),
    )
    epochs = found.best.recipe.epochs  # Of a longer run that is stored, only so many count.
    return dataclasses.replace(
        run,
        recipe=found.best.recipe,
        result=result,
        trials=len(found.trials),
        validation=run.validation[:epochs],
    )


def _task_result(
    plan: StudyPlan, blocks: Sequence[Mapping[str, StudyRun]], levels: Sequence[str]
) -> TaskResult:
    """Average over the blocks of one task."""
    units = [plan.units[run.unit] for block in blocks for run in block.values()]
    first = units[0]
    reference = levels[0]
    results = {
        level: _level_result(level, [block[level] for block in blocks])
        for level in levels
        if _is_everywhere(level, blocks)
    }
    base = results[reference].score if reference in results else math.nan
    return TaskResult(
        task=first.task,
        kind=first.kind,
        metric=first.metric,
        backbone=", ".join(sorted({unit.backbone for unit in units})),
        train_rows=first.rows.train,
        test_rows=first.rows.test,
        guess_score=first.guess_score,
        is_seen=any(unit.is_seen for unit in units),
        seeds=tuple(sorted({run.seed for block in blocks for run in block.values()})),
        results=tuple(_with_difference(result, base) for result in results.values()),
    )


def _is_everywhere(level: str, blocks: Sequence[Mapping[str, StudyRun]]) -> bool:
    """Say whether all blocks have a level: one backbone may take it, and another not."""
    return all(level in block for block in blocks)


def _with_difference(result: MethodResult, base: float) -> MethodResult:
    return dataclasses.replace(result, difference_points=POINTS * (result.score - base))


def _level_result(level: str, runs: Sequence[StudyRun]) -> MethodResult:
    results = [run.result for run in runs]
    scores = [result.score for result in results]
    seconds = [result.seconds for result in results if result.status == "ok"]
    return MethodResult(
        method=level,
        recipe=runs[0].recipe,
        note="",
        predicted=None,
        score=statistics.fmean(scores),
        spread=statistics.stdev(scores) if len(scores) > 1 else math.nan,
        difference_points=math.nan,
        regret_points=math.nan,
        seconds=statistics.fmean(seconds) if seconds else math.nan,
        failures=sum(result.status != "ok" for result in results),
        runs=tuple(results),
    )


def _convergence(
    blocks: Sequence[Mapping[str, StudyRun]], levels: Sequence[str]
) -> dict[str, Convergence]:
    """Return level -> how fast it learned on one task."""
    found: dict[str, list[tuple[int, bool]]] = {}
    for block in blocks:
        best = max((max(run.validation) for run in block.values() if run.validation), default=0.0)
        for level, run in block.items():
            found.setdefault(level, []).append(_epochs_to(run, NEAR_BEST * best))
    return {
        level: Convergence(
            statistics.fmean(epochs for epochs, _ in found[level]),
            statistics.fmean(float(never) for _, never in found[level]),
        )
        for level in levels
        if level in found
    }


def _epochs_to(run: StudyRun, score: float) -> tuple[int, bool]:
    """Return the epochs up to a score, and whether it was never reached."""
    reached = (number for number, value in enumerate(run.validation, 1) if value >= score)
    epochs = next(reached, None)
    return (run.recipe.epochs + 1, True) if epochs is None else (epochs, False)


def _curves(
    plan: StudyPlan, blocks: Sequence[Mapping[str, StudyRun]], levels: Sequence[str]
) -> TaskCurves:
    some = next(iter(blocks[0].values()))
    unit = plan.units[some.unit]
    drawn: list[MethodCurve] = []
    for level in levels:
        runs = [block[level] for block in blocks if level in block and block[level].trace]
        traces = [run.trace for run in runs if run.trace]
        if traces:
            drawn.append(
                average_curve(
                    level,
                    traces,
                    metric=unit.metric,
                    rows=unit.rows,
                    budget=runs[0].recipe.epochs,
                )
            )
    return TaskCurves(unit.task, unit.metric, tuple(drawn))
