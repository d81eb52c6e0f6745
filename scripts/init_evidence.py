"""What the comparison of initialisations says for a prior: `metaft suggest` goes by it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from few_shot_cells import FEW, LAYERED, MANY, MANY_ROWS, SIMPLE, Plan, Result
from few_shot_choice import best_meta_learned
from few_shot_solving import read_initialisation
from init_significance import (
    MEAN_SHOTS,
    StartTest,
    best_of,
    best_simple,
    compare_methods,
    means_of,
    paired_tests,
)

from metaft.errors import PriorError
from metaft.files import sha256_of
from metaft.prior.manifest import INITIALISATION
from metaft.prior.starting import HARMLESS_POINTS, SizeEvidence, StartEvidence
from metaft.significance import show_non_inferiority


def write_evidence(plan: Plan, results: Sequence[Result], folder: Path) -> None:
    """Write what `metaft suggest` says of the initialisation of a prior's folder.

    Where the folder holds none, it is told of the one that was best on the development datasets.

    Raises:
        PriorError: If the folder holds an initialisation that was not compared.
    """
    methods = [method for method in plan.available() if method not in SIMPLE]
    method = _method_in(folder, plan, results, methods)
    compared = [*SIMPLE, *methods]
    rival = best_simple(results, compared)
    tests = paired_tests(results, compared, rival)
    sizes = [
        _size_evidence(tests[method, shots], rival, _mean_rows(results, shots))
        for shots in plan.shots
        if (method, shots) in tests
    ]
    sizes += _evidence_of_many(results, method)
    found = read_initialisation(plan.file_of(method))
    datasets = len(means_of(results, FEW, MEAN_SHOTS, compared)[rival])
    digest = sha256_of(plan.file_of(method))
    evidence = StartEvidence(
        digest, found.backbone, found.settings.algorithm, datasets, tuple(sizes)
    )
    evidence.save(folder)


def _method_in(folder: Path, plan: Plan, results: Sequence[Result], methods: Sequence[str]) -> str:
    """Return the method whose initialisation a prior's folder is told of."""
    file = folder / INITIALISATION
    if file.is_file():
        digest = sha256_of(file)
        known = [m for m in methods if m != LAYERED and sha256_of(plan.file_of(m)) == digest]
    else:
        known = [method for method in [best_meta_learned(results, methods)] if method]
    if not known:
        raise PriorError(
            f"no initialisation for {folder} was compared", f"Copy one of {plan.inits} there"
        )
    return known[0]


def _evidence_of_many(results: Sequence[Result], method: str) -> list[SizeEvidence]:
    """Return what was found at many rows, where the method was run there: one test, no family.

    Where the rival was run at another rate the difference may be the rate's, as controls have
    shown twice (docs/meta-learning.md), so nothing is told of that.
    """
    means = means_of(results, MANY, 0, [*SIMPLE, method])
    if method not in means:
        return []
    rival = best_of([name for name in SIMPLE if name in means], means)
    cells = [result.cell for result in results if result.cell.stage == MANY]
    if len({cell.rate for cell in cells if cell.method in (method, rival)}) > 1:
        return []
    found, differences = compare_methods(means, method, rival)
    test = StartTest(found, differences, found.t_test.p_value, found.wilcoxon.p_value)
    return [_size_evidence(test, rival, MANY_ROWS)]


def _size_evidence(test: StartTest, rival: str, train_rows: float) -> SizeEvidence:
    harmless = show_non_inferiority(test.differences, HARMLESS_POINTS).is_shown
    return SizeEvidence(
        train_rows,
        rival,
        test.found.mean_difference,
        test.t_p_value,
        test.wilcoxon_p_value,
        bool(harmless),
    )


def _mean_rows(results: Sequence[Result], shots: int) -> float:
    """Return the mean number of training rows at so many shots."""
    rows = [r.train_rows for r in results if r.cell.stage == FEW and r.cell.shots == shots]
    return float(np.mean(rows))
