"""What the results of the comparison of initialisations say, as Markdown, and for a prior.

The unit is a dataset: accuracies are averaged over its draws first. A method counts on the
datasets where every method that is compared with it has all its draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from few_shot_cells import (
    FEW,
    LAYERED,
    LOOKS,
    MANY,
    MANY_ROWS,
    SIMPLE,
    Plan,
    Result,
    best_meta_learned,
    chosen_options,
    read_initialisation,
)

from metaft.files import sha256_of
from metaft.prior.manifest import INITIALISATION
from metaft.prior.starting import HARMLESS_POINTS, SizeEvidence, StartEvidence
from metaft.significance import (
    PairedComparison,
    compare_paired,
    holm,
    show_non_inferiority,
    wilcoxon_test,
)

MEAN_SHOTS = (4, 8, 16)
"""The goal is stated for the mean over these."""

SETFIT_DATASETS = ("sst5", "customer_reviews", "emotion")
_PRETRAINED = SIMPLE[0]
_SHARE_OF_BEST = 0.95
_NEVER = 2 * LOOKS[-1]  # Steps of a run that does not get there.

Means = Mapping[str, Mapping[str, float]]
"""Method -> dataset -> accuracy in points."""


def print_report(plan: Plan, results: Sequence[Result]) -> None:
    """Print every table that the results suffice for."""
    methods = [method for method in plan.methods if any(r.cell.method == method for r in results)]
    for section in _SECTIONS:
        lines = section(plan, results, methods)
        if lines:
            print("\n".join(lines), end="\n\n")


def write_evidence(plan: Plan, results: Sequence[Result], folder: Path) -> None:
    """Write what `metaft suggest` says of the initialisation that lies in a prior's folder."""
    digest = sha256_of(folder / INITIALISATION)
    methods = [method for method in plan.available() if method not in SIMPLE]
    method = next(m for m in methods if sha256_of(plan.file_of(m)) == digest and m != LAYERED)
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
    datasets = len(_means(results, FEW, MEAN_SHOTS, compared)[rival])
    evidence = StartEvidence(
        digest, found.backbone, found.settings.algorithm, datasets, tuple(sizes)
    )
    evidence.save(folder)


def _evidence_of_many(results: Sequence[Result], method: str) -> list[SizeEvidence]:
    """Return what was found at many rows, where the method was run there: one test, no family."""
    means = _means(results, MANY, 0, [*SIMPLE, method])
    if method not in means:
        return []
    rival = _best_of([name for name in SIMPLE if name in means], means)
    found, differences = _compared(means, method, rival)
    test = _Test(found, differences, found.t_test.p_value, found.wilcoxon.p_value)
    return [_size_evidence(test, rival, MANY_ROWS)]


class _Test:
    """A comparison, its differences, and its p-values after Holm's correction."""

    def __init__(
        self, found: PairedComparison, differences: np.ndarray, t: float, wilcoxon: float
    ) -> None:
        self.found = found
        self.differences = differences
        self.t_p_value = t
        self.wilcoxon_p_value = wilcoxon


def best_simple(results: Sequence[Result], methods: Sequence[str]) -> str:
    """Return the best of the simple rivals by its mean over 4 to 16 shots."""
    means = _means(results, FEW, MEAN_SHOTS, methods)
    return _best_of([method for method in SIMPLE if method in means], means)


def _best_of(methods: Sequence[str], means: Means) -> str:
    return max(methods, key=lambda method: float(np.mean(list(means[method].values()))))


def paired_tests(
    results: Sequence[Result], methods: Sequence[str], rival: str
) -> dict[tuple[str, int], _Test]:
    """Compare what was trained beforehand with the best simple rival, at each number of shots.

    Returns:
        (method, shots) -> test; 0 shots are the mean over 4 to 16. All are one family.
    """
    shots_known = sorted({r.cell.shots for r in results if r.cell.stage == FEW})
    compared: dict[tuple[str, int], tuple[PairedComparison, np.ndarray]] = {}
    for shots in (0, *shots_known):
        means = _means(results, FEW, shots or MEAN_SHOTS, methods)
        for method in (m for m in means if m not in SIMPLE):
            compared[method, shots] = _compared(means, method, rival)
    t = holm([found.t_test.p_value for found, _ in compared.values()])
    wilcoxon = holm([found.wilcoxon.p_value for found, _ in compared.values()])
    return {
        key: _Test(*value, t_value, wilcoxon_value)
        for (key, value), t_value, wilcoxon_value in zip(compared.items(), t, wilcoxon, strict=True)
    }


def steps_to_share(curve: Mapping[int, float], target: float) -> int:
    """Return the first look at which a curve reaches a score, or twice the last step."""
    return next((step for step in sorted(curve) if curve[step] >= target), _NEVER)


def _size_evidence(test: _Test, rival: str, train_rows: float) -> SizeEvidence:
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


def _means(
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


def _compared(means: Means, method: str, rival: str) -> tuple[PairedComparison, np.ndarray]:
    names = sorted(means[rival])
    own = np.array([means[method][name] for name in names])
    other = np.array([means[rival][name] for name in names])
    return compare_paired(own, other), own - other


def _options(_: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    chosen = chosen_options(results, methods)
    rows = [[m, f"{rate:g}" if rate else "no step", head] for m, (rate, head) in chosen.items()]
    return _table("Chosen on the development datasets", ["method", "rate", "head"], rows)


def _accuracies(plan: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    columns: list[int | tuple[int, ...]] = [*plan.shots, MEAN_SHOTS]
    by_column = [_means(results, FEW, shots, methods) for shots in columns]
    if not any(by_column):
        return []
    rows = []
    for method in methods:
        cells = [_mean_or_gap(means.get(method)) for means in by_column]
        rows.append([method, *cells, f"{_adaptation_seconds(results, method):.1f}"])
    counts = [len(next(iter(means.values()), {})) for means in by_column]
    header = ["method", *(f"{shots} shots" for shots in plan.shots), "mean of 4 to 16"]
    title = f"Test accuracy, points; datasets: {', '.join(map(str, counts))}"
    return _table(title, [*header, "CPU s per adaptation"], rows)


def _mean_or_gap(means: Mapping[str, float] | None) -> str:
    return f"{np.mean(list(means.values())):.1f}" if means else ""


def _adaptation_seconds(results: Iterable[Result], method: str) -> float:
    spent = [r.cpu_seconds for r in results if r.cell.stage == FEW and r.cell.method == method]
    return float(np.mean(spent)) if spent else float("nan")


def _tests(_: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    if not _means(results, FEW, MEAN_SHOTS, methods):
        return []
    rival = best_simple(results, methods)
    rows = []
    for (method, shots), test in paired_tests(results, methods, rival).items():
        found = test.found
        counts = found.win_tie_loss
        rows.append(
            [
                method,
                str(shots or "4 to 16"),
                f"{found.mean_difference:+.2f}",
                f"{found.mean_interval.low:+.2f} to {found.mean_interval.high:+.2f}",
                f"{test.t_p_value:.3g}",
                f"{test.wilcoxon_p_value:.3g}",
                f"{found.effect_size:.2f}",
                f"{counts.wins}/{counts.ties}/{counts.losses}",
            ]
        )
    header = ["method", "shots", "points", "95 %", "t, Holm", "Wilcoxon, Holm", "d_z", "w/t/l"]
    return _table(f"Against {rival}, the best of the first four", header, rows)


def _curves(_: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    """Show accuracies on the way; a method that takes no step has the first of them alone."""
    by_shots = [_mean_curves(results, shots) for shots in MEAN_SHOTS]
    shown = [method for method in methods if all(method in curves for curves in by_shots)]
    names = [set(curves[method]) for curves in by_shots for method in shown]
    shared = sorted(set.intersection(*names)) if names else []
    rows = []
    for method in shown:
        curves = [found[method][name] for found in by_shots for name in shared]
        means = [[100 * curve[look] for curve in curves if look in curve] for look in LOOKS]
        rows.append([method, *(f"{np.mean(values):.1f}" if values else "" for values in means)])
    title = f"Accuracy on the way, mean of 4 to 16 shots over {len(shared)} datasets"
    header = ["method", *(f"{look} steps" for look in LOOKS)]
    return _table(title, header, rows) if shared else []


def _steps(plan: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    rows = []
    for shots in plan.shots:
        curves = _mean_curves(results, shots)
        base = curves.get(_PRETRAINED, {})
        for method in (m for m in methods if len(next(iter(curves.get(m, {}).values()), {})) > 1):
            names = sorted(set(base) & set(curves[method]))
            own, other, itself = _steps_of(curves[method], base, names)
            p_value = wilcoxon_test(np.array(own) - np.array(other)).p_value if names else 1.0
            mean = [f"{np.mean(values):.1f}" for values in (own, itself)] if names else ["", ""]
            rows.append([method, str(shots), *mean, f"{p_value:.3g}"])
    header = ["method", "shots", "of the pretrained's best", "of its own best", "Wilcoxon"]
    return _table("Mean steps to 95 %", header, rows) if rows else []


def _steps_of(
    curves: Mapping[str, Mapping[int, float]],
    base: Mapping[str, Mapping[int, float]],
    names: Sequence[str],
) -> tuple[list[int], list[int], list[int]]:
    """Return the steps of a method, of the pretrained start, and those to the method's own best."""
    targets = {name: _SHARE_OF_BEST * max(base[name].values()) for name in names}
    return (
        [steps_to_share(curves[name], targets[name]) for name in names],
        [steps_to_share(base[name], targets[name]) for name in names],
        [steps_to_share(curves[n], _SHARE_OF_BEST * max(curves[n].values())) for n in names],
    )


def _mean_curves(results: Sequence[Result], shots: int) -> dict[str, dict[str, dict[int, float]]]:
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


def _many(_: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    means = _means(results, MANY, 0, methods)
    rows = []
    for method in means:
        row = [method, _mean_or_gap(means[method])]
        if method != _PRETRAINED and _PRETRAINED in means:
            found, differences = _compared(means, method, _PRETRAINED)
            margin = show_non_inferiority(differences, HARMLESS_POINTS)
            row += [
                f"{found.mean_difference:+.2f}",
                f"{found.t_test.p_value:.3g}",
                f"{found.wilcoxon.p_value:.3g}",
                "yes" if margin.is_shown else "no",
            ]
        rows.append(row + [""] * (6 - len(row)))
    header = ["method", "accuracy", "against pretrained", "t", "Wilcoxon", "no worse by 0.3"]
    datasets = len(next(iter(means.values()), {}))
    return _table(f"{MANY_ROWS} training rows, {datasets} datasets", header, rows) if rows else []


def _layers(_: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    pair = [method for method in ("meta-sgd", LAYERED) if method in methods]
    means = _means(results, FEW, MEAN_SHOTS, pair)
    if len(means) < 2:
        return []
    found, _differences = _compared(means, LAYERED, "meta-sgd")
    return [
        f"Learned layer-wise rates against a single one, both from Meta-SGD's weights: "
        f"{found.mean_difference:+.2f} points over {found.pairs} datasets "
        f"(t {found.t_test.p_value:.3g}, Wilcoxon {found.wilcoxon.p_value:.3g})."
    ]


def _like_setfit(plan: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    by_shots = {shots: _means(results, FEW, shots, methods) for shots in plan.shots}
    rows = []
    for method in methods:
        cells = [method]
        for means in by_shots.values():
            own = [means.get(method, {}).get(name) for name in SETFIT_DATASETS]
            known = [value for value in own if value is not None]
            cells.append(f"{np.mean(known):.1f}" if len(known) == len(own) else "")
        rows.append(cells)
    if not any(cell for row in rows for cell in row[1:]):
        return []
    header = ["method", *(f"{shots} shots" for shots in plan.shots)]
    return _table(f"Mean of {', '.join(SETFIT_DATASETS)}", header, rows)


def _costs(plan: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    rows = []
    for method in methods:
        if method not in SIMPLE and plan.file_of(method).is_file():
            found = read_initialisation(plan.file_of(method))
            size = plan.file_of(method).stat().st_size / 1e6
            rows.append(
                [
                    method,
                    str(found.steps),
                    str(len(found.tasks)),
                    f"{found.cpu_seconds:,.0f}",
                    f"{found.train_seconds:,.0f}",
                    f"{found.peak_memory_mib:,.0f}",
                    f"{size:.1f}",
                ]
            )
    header = ["method", "steps", "tasks", "CPU s", "wall s", "peak MiB", "file, MB"]
    best = best_meta_learned(results, methods)
    note = [f"\nBest on the development datasets: {best}."] if best else []
    return [*_table("Meta-training", header, rows), *note] if rows else []


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return [f"{title}:", "", lines[0], f"|{'---|' * len(header)}", *lines[1:]]


_SECTIONS = (
    _options,
    _accuracies,
    _tests,
    _curves,
    _steps,
    _many,
    _layers,
    _like_setfit,
    _costs,
)
