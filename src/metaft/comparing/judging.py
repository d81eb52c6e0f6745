"""Judging: what the differences between methods prove. The unit is the dataset."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaft.comparing.results import POINTS, MethodResult, TaskResult
from metaft.prior.margins import MARGIN_POINTS, TIE_POINTS
from metaft.significance import (
    Interval,
    NonInferiority,
    PairedComparison,
    RankComparison,
    Verdict,
    compare_paired,
    compare_ranks,
    detectable_effect,
    fewest_pairs,
    hodges_lehmann,
    holm,
    pairs_needed,
    show_non_inferiority,
    wilcoxon_test,
)

_FEWEST_RANKED = 3  # Two methods are compared by the paired tests.


@dataclass(frozen=True, slots=True)
class TimeComparison:
    """How long a method takes, as a multiple of the reference.

    Attributes:
        datasets: Those on which both have a run that ended well with the same seed.
        ratio: Hodges-Lehmann estimate of the ratio of seconds; NaN without datasets.
        interval: Of the ratio.
        wilcoxon: Two-sided test of the logarithms of the ratios.
        wilcoxon_holm: Its p-value after Holm's correction over the methods.
    """

    datasets: int
    ratio: float
    interval: Interval
    wilcoxon: Verdict
    wilcoxon_holm: float = math.nan


@dataclass(frozen=True, slots=True)
class Judgement:
    """A method against the reference.

    Attributes:
        method, reference: Their names.
        points: Differences of the mean scores, in points.
        t_test_holm, wilcoxon_holm: p-values after Holm's correction over the methods.
        non_inferiority: Whether the method is at most `MARGIN_POINTS` worse.
        detectable_points: Mean difference that so many datasets find four times in five, given
            how much the differences vary here; NaN for fewer than two datasets.
        pairs_needed: Datasets that show an effect of the observed size four times in five;
            None where there is no effect, or too few datasets to see its size.
        time: Seconds against those of the reference.
    """

    method: str
    reference: str
    points: PairedComparison
    t_test_holm: float
    wilcoxon_holm: float
    non_inferiority: NonInferiority
    detectable_points: float
    pairs_needed: int | None
    time: TimeComparison


@dataclass(frozen=True, slots=True)
class PredictionCheck:
    """What a method predicted against what was reached.

    Attributes:
        method: Its name.
        runs: Runs whose score was predicted.
        inside: Share of them whose test score lies within the predicted interval.
        mean_error_points: Mean of |reached - predicted|, in points.
        mean_bias_points: Mean of reached - predicted, in points.
    """

    method: str
    runs: int
    inside: float
    mean_error_points: float
    mean_bias_points: float


def judge(tasks: Sequence[TaskResult], methods: Sequence[str], reference: str) -> list[Judgement]:
    """Compare every method with the reference, correcting for there being several.

    Args:
        tasks: Results; each counts once, however many seeds it has, and for the methods that
            it has.
        methods: Names, the reference among them.
        reference: Name of the reference.
    """
    return correct(
        [
            _judge_one([task for task in tasks if task.has(method)], method, reference)
            for method in methods
            if method != reference
        ]
    )


def correct(raw: Sequence[Judgement]) -> list[Judgement]:
    """Correct the p-values of judgements for their number, by Holm."""
    t_tests = holm([judgement.points.t_test.p_value for judgement in raw])
    wilcoxons = holm([judgement.points.wilcoxon.p_value for judgement in raw])
    times = holm([judgement.time.wilcoxon.p_value for judgement in raw])
    return [
        dataclasses.replace(
            judgement,
            t_test_holm=t_tests[at],
            wilcoxon_holm=wilcoxons[at],
            time=dataclasses.replace(judgement.time, wilcoxon_holm=times[at]),
        )
        for at, judgement in enumerate(raw)
    ]


def rank_methods(tasks: Sequence[TaskResult], methods: Sequence[str]) -> RankComparison | None:
    """Compare all methods at once by their ranks; None for fewer than three."""
    if len(methods) < _FEWEST_RANKED:
        return None
    scores = [[task.of(method).score for method in methods] for task in tasks]
    return compare_ranks(np.reshape(scores, (len(tasks), len(methods))))


def check_predictions(tasks: Sequence[TaskResult], methods: Sequence[str]) -> list[PredictionCheck]:
    """Check the predictions of every method that made some."""
    checks = [_check_method([task.of(method) for task in tasks], method) for method in methods]
    return [check for check in checks if check.runs]


def _judge_one(tasks: Sequence[TaskResult], method: str, reference: str) -> Judgement:
    candidate = [POINTS * task.of(method).score for task in tasks]
    base = [POINTS * task.of(reference).score for task in tasks]
    points = compare_paired(candidate, base, tie=TIE_POINTS)
    differences = np.array(candidate) - np.array(base)
    return Judgement(
        method=method,
        reference=reference,
        points=points,
        t_test_holm=math.nan,
        wilcoxon_holm=math.nan,
        non_inferiority=show_non_inferiority(differences, MARGIN_POINTS),
        detectable_points=_detectable(differences),
        pairs_needed=pairs_needed(points.effect_size) if points.pairs >= fewest_pairs() else None,
        time=_compare_times(tasks, method, reference),
    )


def _detectable(differences: np.ndarray) -> float:
    if len(differences) < 2:
        return math.nan
    return detectable_effect(len(differences)) * float(differences.std(ddof=1))


def _compare_times(tasks: Sequence[TaskResult], method: str, reference: str) -> TimeComparison:
    logs = [_log_ratio(task.of(method), task.of(reference)) for task in tasks]
    shift, interval = hodges_lehmann(logs)
    wilcoxon = wilcoxon_test(logs)
    return TimeComparison(
        datasets=wilcoxon.pairs,
        ratio=math.exp(shift),
        interval=Interval(math.exp(interval.low), math.exp(interval.high), interval.level),
        wilcoxon=wilcoxon,
    )


def _log_ratio(candidate: MethodResult, reference: MethodResult) -> float:
    """Return the logarithm of the ratio of seconds over the seeds in which both ended well."""
    pairs = [
        (ours.seconds, theirs.seconds)
        for ours, theirs in zip(candidate.runs, reference.runs, strict=True)
        if ours.status == theirs.status == "ok"
    ]
    if not pairs:
        return math.nan
    ours, theirs = np.sum(pairs, axis=0)
    return math.log(ours / theirs)


def _check_method(results: Sequence[MethodResult], method: str) -> PredictionCheck:
    pairs = [
        (result.predicted, run.score)
        for result in results
        if result.predicted
        for run in result.runs
    ]
    errors = np.array([POINTS * (score - predicted.score) for predicted, score in pairs])
    inside = [predicted.low <= score <= predicted.high for predicted, score in pairs]
    return PredictionCheck(
        method=method,
        runs=len(pairs),
        inside=float(np.mean(inside)) if pairs else math.nan,
        mean_error_points=float(np.abs(errors).mean()) if pairs else math.nan,
        mean_bias_points=float(errors.mean()) if pairs else math.nan,
    )
