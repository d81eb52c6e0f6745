"""Means and paired tests over the results of the comparison of initialisations.

The unit is a dataset: accuracies are averaged over its draws first. A method counts on the
datasets where every method that is compared with it has all its draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from few_shot_cells import FEW, LOOKS, SIMPLE, Result

from metaft.significance import PairedComparison, compare_paired, holm

MEAN_SHOTS = (4, 8, 16)
"""The goal is stated for the mean over these."""

_NEVER = 2 * LOOKS[-1]  # Steps of a run that does not get there.

Means = Mapping[str, Mapping[str, float]]
"""Method -> dataset -> accuracy in points."""


@dataclass(frozen=True)
class StartTest:
    """A comparison, its differences in points, and its p-values after Holm's correction."""

    found: PairedComparison
    differences: np.ndarray
    t_p_value: float
    wilcoxon_p_value: float


def means_of(
    results: Sequence[Result], stage: str, shots: int | tuple[int, ...], methods: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Average over draws and shots, on the datasets where every method has the same cells.

    A dataset that lacks one of the wanted numbers of shots does not count.
    """
    wanted = (shots,) if isinstance(shots, int) else shots
    found: dict[str, dict[str, dict[tuple[int, int], float]]] = {}
    for result in results:
        cell = result.cell
        if cell.stage == stage and cell.shots in wanted and cell.method in methods:
            own = found.setdefault(cell.method, {}).setdefault(cell.dataset, {})
            own[cell.shots, cell.seed] = 100 * result.accuracy
    if not found:
        return {}
    shared = set.intersection(*(set(datasets) for datasets in found.values()))
    whole = [
        name
        for name in sorted(shared)
        if len({frozenset(datasets[name]) for datasets in found.values()}) == 1
        and all(
            {shots for shots, _ in datasets[name]} == set(wanted) for datasets in found.values()
        )
    ]
    return {
        method: {name: float(np.mean(list(datasets[name].values()))) for name in whole}
        for method, datasets in found.items()
        if whole
    }


def best_simple(results: Sequence[Result], methods: Sequence[str]) -> str:
    """Return the best of the simple rivals by its mean over 4 to 16 shots."""
    means = means_of(results, FEW, MEAN_SHOTS, methods)
    return best_of([method for method in SIMPLE if method in means], means)


def best_of(methods: Sequence[str], means: Means) -> str:
    return max(methods, key=lambda method: float(np.mean(list(means[method].values()))))


def paired_tests(
    results: Sequence[Result], methods: Sequence[str], rival: str
) -> dict[tuple[str, int], StartTest]:
    """Compare what was trained beforehand with the best simple rival, at each number of shots.

    Returns:
        (method, shots) -> test; 0 shots are the mean over 4 to 16. All are one family.
    """
    shots_known = sorted({r.cell.shots for r in results if r.cell.stage == FEW})
    compared: dict[tuple[str, int], tuple[PairedComparison, np.ndarray]] = {}
    for shots in (0, *shots_known):
        means = means_of(results, FEW, shots or MEAN_SHOTS, methods)
        for method in (m for m in means if m not in SIMPLE):
            compared[method, shots] = compare_methods(means, method, rival)
    t = holm([found.t_test.p_value for found, _ in compared.values()])
    wilcoxon = holm([found.wilcoxon.p_value for found, _ in compared.values()])
    return {
        key: StartTest(*value, t_value, wilcoxon_value)
        for (key, value), t_value, wilcoxon_value in zip(compared.items(), t, wilcoxon, strict=True)
    }


def compare_methods(means: Means, method: str, rival: str) -> tuple[PairedComparison, np.ndarray]:
    names = sorted(means[rival])
    own = np.array([means[method][name] for name in names])
    other = np.array([means[rival][name] for name in names])
    return compare_paired(own, other), own - other


def steps_to_share(curve: Mapping[int, float], target: float) -> int:
    """Return the first look at which a curve reaches a score, or twice the last step."""
    return next((step for step in sorted(curve) if curve[step] >= target), _NEVER)


def mean_curves(results: Sequence[Result], shots: int) -> dict[str, dict[str, dict[int, float]]]:
    """Return method -> dataset -> step -> accuracy, averaged over the draws that were looked at."""
    found: dict[str, dict[str, dict[int, list[float]]]] = {}
    for result in results:
        cell = result.cell
        if cell.stage == FEW and cell.shots == shots:
            own = found.setdefault(cell.method, {}).setdefault(cell.dataset, {})
            for step, accuracy in result.curve:
                own.setdefault(step, []).append(accuracy)
    return {
        method: {
            name: {step: float(np.mean(values)) for step, values in curve.items()}
            for name, curve in datasets.items()
        }
        for method, datasets in found.items()
    }


def accuracies_on_the_way(
    results: Sequence[Result], methods: Sequence[str], shots: Sequence[int]
) -> tuple[int, dict[str, dict[int, float]]]:
    """Average the looks over datasets and numbers of shots.

    Returns:
        Number of datasets that every method has, and method -> step -> accuracy in points; a
        method that takes no step has the first look alone.
    """
    by_shots = [mean_curves(results, count) for count in shots]
    shown = [method for method in methods if all(method in curves for curves in by_shots)]
    names = [set(curves[method]) for curves in by_shots for method in shown]
    shared = sorted(set.intersection(*names)) if names else []
    means: dict[str, dict[int, float]] = {}
    for method in shown if shared else []:
        curves = [found[method][name] for found in by_shots for name in shared]
        means[method] = {
            look: float(np.mean([100 * curve[look] for curve in curves]))
            for look in LOOKS
            if all(look in curve for curve in curves)
        }
    return len(shared), means
