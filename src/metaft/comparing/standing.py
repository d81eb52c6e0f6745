"""Standing: how each method did over all datasets of the headline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaft.comparing.results import POINTS, MethodResult, TaskResult
from metaft.significance import Interval, bootstrap_interval


@dataclass(frozen=True, slots=True)
class Standing:
    """One method over all datasets; NaN without datasets.

    Attributes:
        method: Its name.
        datasets: Those that count.
        mean_points: Mean score, in points.
        regret_points: Mean regret, see `MethodResult`.
        regret_interval: Bootstrap (BCa) interval of the mean regret.
        seconds: Geometric mean over the datasets of the seconds of a run, those without a
            run that ended well left out.
        peak_memory_mib: Highest memory of a run, MiB.
        runs, failures: How many, and how many of them did not end well.
    """

    method: str
    datasets: int
    mean_points: float
    regret_points: float
    regret_interval: Interval
    seconds: float
    peak_memory_mib: float
    runs: int
    failures: int


def stand(tasks: Sequence[TaskResult], methods: Sequence[str]) -> list[Standing]:
    """Sum every method up, each dataset that has it counting once."""
    return [
        _stand_one([task.of(method) for task in tasks if task.has(method)], method)
        for method in methods
    ]


def _stand_one(results: Sequence[MethodResult], method: str) -> Standing:
    regrets = [result.regret_points for result in results]
    seconds = [result.seconds for result in results if not math.isnan(result.seconds)]
    runs = [run for result in results for run in result.runs]
    return Standing(
        method=method,
        datasets=len(results),
        mean_points=_mean([POINTS * result.score for result in results]),
        regret_points=_mean(regrets),
        regret_interval=bootstrap_interval(regrets),
        seconds=math.exp(_mean([math.log(value) for value in seconds])),
        peak_memory_mib=max((run.peak_memory_mib for run in runs), default=math.nan),
        runs=len(runs),
        failures=sum(result.failures for result in results),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
