"""Which rate and head each method takes in the comparison of initialisations: per size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from few_shot_cells import (
    DEVELOP,
    DEVELOP_MANY,
    DEVELOPMENT_SHOTS,
    META_LEARNED,
    USUAL_RATE,
    Result,
    options_of,
)

from metaft.metalearning.adapting import HeadStart


def chosen_options(
    results: Sequence[Result], methods: Sequence[str], shots: int
) -> dict[str, tuple[float, HeadStart]]:
    """Return the options of each method that were best on the development datasets.

    Rates are chosen at each size: what is best at few rows is not at many.

    Args:
        results: Those of the development stages suffice.
        methods: To choose for; one without any result there takes the usual rate and first head.
        shots: Training rows of each class; 0 for many rows.
    """
    chosen = {}
    for method in methods:
        means = mean_accuracies(results, method, _developed_at(shots))
        options = options_of(method)
        usual = next((o for o in options if o[0] == USUAL_RATE), options[0])
        chosen[method] = max(options, key=lambda option: (means.get(option, -1.0), option == usual))
    return chosen


def _developed_at(shots: int) -> int:
    """Return at how many shots the options for so many are chosen."""
    if not shots:
        return 0
    smaller = [size for size in DEVELOPMENT_SHOTS if size <= shots]
    return max(smaller, default=min(DEVELOPMENT_SHOTS))


def only_chosen(results: Sequence[Result], methods: Sequence[str]) -> list[Result]:
    """Leave out what was made on the test datasets with options that are not the chosen ones."""
    sizes = {result.cell.shots for result in results}
    chosen = {shots: chosen_options(results, methods, shots) for shots in sizes}
    return [
        result
        for result in results
        if result.cell.stage in (DEVELOP, DEVELOP_MANY)
        or chosen[result.cell.shots].get(result.cell.method) == (result.cell.rate, result.cell.head)
    ]


def best_meta_learned(results: Sequence[Result], methods: Sequence[str]) -> str | None:
    """Return the meta-learned method that was best on the development datasets, if any was run."""
    learned = [method for method in methods if method in META_LEARNED]
    means = {m: mean_accuracies(results, m, min(DEVELOPMENT_SHOTS)) for m in learned}
    developed = [method for method in learned if means[method]]
    return max(developed, key=lambda method: max(means[method].values()), default=None)


def mean_accuracies(
    results: Sequence[Result], method: str, shots: int
) -> Mapping[tuple[float, HeadStart], float]:
    """Return the mean accuracy of each option of a method over the development datasets.

    Args:
        results: Of any stage.
        method: Whose.
        shots: Training rows of each class; 0 for many rows.
    """
    found: dict[tuple[float, HeadStart], list[float]] = {}
    for result in results:
        cell = result.cell
        is_wanted = cell.stage in (DEVELOP, DEVELOP_MANY) and cell.shots == shots
        if is_wanted and cell.method == method:
            found.setdefault((cell.rate, cell.head), []).append(result.accuracy)
    return {option: float(np.mean(values)) for option, values in found.items()}
