"""What the results of the comparison of initialisations say, as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from few_shot_cells import (
    DEVELOPMENT_SHOTS,
    FEW,
    LAYERED,
    LOOKS,
    MANY,
    MANY_ROWS,
    RATES,
    SIMPLE,
    Plan,
    Result,
    options_of,
)
from few_shot_choice import best_meta_learned, chosen_options, mean_accuracies
from few_shot_solving import layer_rate_decay, read_initialisation
from init_significance import (
    MEAN_SHOTS,
    accuracies_on_the_way,
    best_simple,
    compare_methods,
    mean_curves,
    means_of,
    paired_tests,
    steps_to_share,
)

from metaft.prior.starting import HARMLESS_POINTS
from metaft.significance import show_non_inferiority, wilcoxon_test

SETFIT_DATASETS = ("sst5", "customer_reviews", "emotion")
_PRETRAINED = SIMPLE[0]
_SHARE_OF_BEST = 0.95


def print_report(plan: Plan, results: Sequence[Result]) -> None:
    """Print every table that the results suffice for."""
    methods = [method for method in plan.methods if any(r.cell.method == method for r in results)]
    for section in _SECTIONS:
        lines = section(plan, results, methods)
        if lines:
            print("\n".join(lines), end="\n\n")


def _options(_: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    """Show the mean accuracy of every rate and head on the development datasets, by size."""
    lines: list[str] = []
    for shots in (*DEVELOPMENT_SHOTS, 0):
        rows = _options_at(shots, results, methods)
        size = f"{shots} shots" if shots else f"{MANY_ROWS} rows"
        title = f"Accuracy on the development datasets at {size} by rate; the chosen bold"
        header = ["method", "head", "no step", *(f"{rate:g}" for rate in RATES)]
        if rows:
            lines += ["", *_table(title, header, rows)]
    return lines[1:]


def _options_at(shots: int, results: Sequence[Result], methods: Sequence[str]) -> list[list[str]]:
    chosen = chosen_options(results, methods, shots)
    rows = []
    for method in methods:
        means = mean_accuracies(results, method, shots)
        for head in dict.fromkeys(head for _, head in options_of(method)) if means else ():
            cells = [
                _marked(means.get((rate, head)), is_chosen=(rate, head) == chosen[method])
                for rate in (0.0, *RATES)
            ]
            rows.append([method, head, *cells])
    return rows


def _marked(accuracy: float | None, *, is_chosen: bool) -> str:
    text = "" if accuracy is None else f"{100 * accuracy:.1f}"
    return f"**{text or 'chosen'}**" if is_chosen else text


def _accuracies(plan: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    columns: list[int | tuple[int, ...]] = [*plan.shots, MEAN_SHOTS]
    by_column = [means_of(results, FEW, shots, methods) for shots in columns]
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
    if not means_of(results, FEW, MEAN_SHOTS, methods):
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
    datasets, means = accuracies_on_the_way(results, methods, MEAN_SHOTS)
    rows = [
        [method, *(f"{curve[look]:.1f}" if look in curve else "" for look in LOOKS)]
        for method, curve in means.items()
    ]
    title = f"Accuracy on the way, mean of 4 to 16 shots over {datasets} datasets"
    header = ["method", *(f"{look} steps" for look in LOOKS)]
    return _table(title, header, rows) if rows else []


def _steps(plan: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    rows = []
    for shots in plan.shots:
        curves = mean_curves(results, shots)
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


def _many(_: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    means = means_of(results, MANY, 0, methods)
    rows = []
    for method in means:
        row = [method, _mean_or_gap(means[method])]
        if method != _PRETRAINED and _PRETRAINED in means:
            found, differences = compare_methods(means, method, _PRETRAINED)
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


def print_by_rate(results: Sequence[Result]) -> None:
    """Print each start at many rows against others of its rate, and against itself at others.

    Args:
        results: Those with options that were not chosen, too.
    """
    labelled = [_named_by_rate(result) for result in results if result.cell.stage == MANY]
    starts = sorted({(r.cell.rate, r.cell.method) for r in labelled})
    means = means_of(labelled, MANY, 0, [label for _, label in starts])
    rows = []
    for (rate, label), (other_rate, other) in combinations(starts if means else [], 2):
        if rate == other_rate or label.split(" at ")[0] == other.split(" at ")[0]:
            found, _ = compare_methods(means, label, other)
            interval = f"{found.mean_interval.low:+.2f} to {found.mean_interval.high:+.2f}"
            tests = [f"{test.p_value:.3g}" for test in (found.t_test, found.wilcoxon)]
            rows.append([label, other, f"{found.mean_difference:+.2f}", interval, *tests])
    if rows:
        header = ["start", "against", "points", "95 %", "t", "Wilcoxon"]
        print("\n".join(_table(f"{MANY_ROWS} rows, by rate", header, rows)), end="\n\n")


def _named_by_rate(result: Result) -> Result:
    cell = result.cell
    return replace(result, cell=replace(cell, method=f"{cell.method} at {cell.rate:g}"))


def _layers(plan: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    pair = [method for method in ("meta-sgd", LAYERED) if method in methods]
    means = means_of(results, FEW, MEAN_SHOTS, pair)
    if len(means) < 2:
        return []
    found, _differences = compare_methods(means, LAYERED, "meta-sgd")
    file = plan.file_of(LAYERED)
    decay = (
        f" (a decay of {layer_rate_decay(file):.3g} from each block to the one below)"
        if file.is_file()
        else ""
    )
    return [
        f"Learned layer-wise rates{decay} against a single one, both from Meta-SGD's weights: "
        f"{found.mean_difference:+.2f} points over {found.pairs} datasets "
        f"(t {found.t_test.p_value:.3g}, Wilcoxon {found.wilcoxon.p_value:.3g})."
    ]


def _like_setfit(plan: Plan, results: Sequence[Result], methods: Sequence[str]) -> list[str]:
    by_shots = {shots: means_of(results, FEW, shots, methods) for shots in plan.shots}
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
