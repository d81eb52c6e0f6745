"""The README of a prior: every figure in it comes from its manifest."""

from __future__ import annotations

from typing import Any

from metaft.prior.manifest import Manifest

_MEANING = {
    "learned": "what `metaft suggest` answers",
    "learned-cost": "what `metaft suggest --goal cost` answers",
    "surrogate": "the model alone, whatever leave-one-out says of it",
    "plain": "5e-5, three epochs, nothing frozen",
    "best-average": "the best mean over the training tasks, of the same backbone and size",
    "best-average-of-all": "the best mean over all traces",
    "best-learning-rate": "the best learning rate, all else as in plain",
    "1-nn": "the best recipe of the nearest task",
    "10-nn": "the best mean over the ten nearest tasks",
    "random-4": "random search, four full runs, the best on validation",
    "random-8": "random search, eight full runs, the best on validation",
}


def render_readme(manifest: Manifest) -> str:
    """Return the README of a prior, in Markdown."""
    parts = [
        _introduction(manifest),
        "## What it is worth",
        _worth(manifest),
        _methods(manifest),
        _comparisons(manifest),
        _honesty(manifest),
        "## What it was learned from",
        _tasks(manifest),
        "## Files",
        _files(manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(manifest: Manifest) -> str:
    space = manifest["space"]
    sizes = ", ".join(f"{size:,}" for size in manifest["train_rows"])
    return (
        f"# {manifest['name']} {manifest['version']}\n\n"
        f"A prior for fine-tuning on {manifest['modality']}s, fitted to {manifest['traces']:,} "
        f"traces: {len(manifest['tasks'])} tasks, {space['recipes']} recipes "
        f"({space['cells']} with their epoch budgets), {sizes} training rows, "
        f"{', '.join(manifest.backbones)}. Made by `metaft prior fit` on "
        f"{manifest['created_at'][:10]}; `metaft prior check` computes every figure below anew."
    )


def _worth(manifest: Manifest) -> str:
    """Return the verdict in words."""
    figures, weight = manifest["validation"], manifest["calibration"]["weight"]
    if not figures["tasks"]:
        return "There are too few tasks to leave one out, so nothing is known of its worth."
    if weight == 0:
        verdict = (
            "**The model over features chose no better than one fixed recipe, the best on "
            "average, so that recipe is what this prior suggests.** Its features serve to "
            "predict scores, not to choose."
        )
    else:
        verdict = (
            f"The model over features counts for {weight:.0%} of the ranking, the average over "
            "the training tasks for the rest; farther from the training tasks the average takes "
            "over."
        )
    return (
        f"{verdict} Judged on {figures['tasks']} tasks, each left out with its relatives, and "
        "everything that is fitted, scaled, tuned or calibrated stays inside the fold. Points "
        "are test scores x 100; regret is against the best recipe, picked on one half of the "
        "test rows and scored on the other; normalised, it is divided by how much better the "
        "best recipe is than the median one (at least 3 points). Time is that of all runs a "
        "method makes, in runs of plain."
    )


def _methods(manifest: Manifest) -> str:
    rows = [
        [
            f"{name} ({_MEANING[name]})",
            _number(figures["points"]),
            _number(figures["regret"]),
            _number(figures["normalised_regret"]),
            _number(figures["relative_seconds"]),
            _share(figures["failed"]),
        ]
        for name, figures in manifest["validation"]["methods"].items()
    ]
    head = ["method", "points", "regret", "normalised", "time", "failed"]
    return _table(head, rows) if rows else ""


def _comparisons(manifest: Manifest) -> str:
    rows = [
        [
            name,
            f"{_number(figures['mean_points'])} ({_number(figures['mean_low'])} to "
            f"{_number(figures['mean_high'])})",
            _p_value(figures["t_test_p"]),
            _p_value(figures["wilcoxon_p"]),
            _p_value(figures["wilcoxon_p_holm"]),
            _number(figures["effect_size"]),
            " / ".join(str(count) for count in figures["win_tie_loss"]),
        ]
        for name, figures in manifest["validation"]["comparisons"].items()
    ]
    head = ["points", "mean (95 %)", "paired t", "Wilcoxon", "with Holm", "d_z", "win/tie/loss"]
    return _table(head, rows) if rows else ""


def _honesty(manifest: Manifest) -> str:
    figures = manifest["validation"]
    if not figures["tasks"]:
        return ""
    control = ", ".join(_number(gain) for gain in figures["control"]["surrogate_gain_points"])
    learned = ", ".join(_number(gain) for gain in figures["control"]["learned_gain_points"])
    interval = figures["interval"]
    width = interval["mean_half_width"]
    wide = "without bound (too few tasks)" if width is None else f"{_number(width)} points"
    return (
        f"- Negative control, features shuffled across tasks: the prior gains {learned} points "
        f"on best-average, its model alone {control}.\n"
        f"- The 90 % interval held {_share(interval['coverage'])} of the scores of left-out "
        f"tasks; its mean half-width is {wide}.\n"
        "- Median relative error of the predicted training time "
        f"{_share(figures['training_seconds']['median_relative_error'])}, of the peak memory "
        f"{_share(figures['peak_memory_mib']['median_relative_error'])}. Times are those of one "
        f"thread of {manifest['machine']['cpu_model'] or 'an unknown processor'} with a core of "
        "its own, in the precision "
        f"{manifest['machine']['precision']}; memory is that of a process that records."
    )


def _tasks(manifest: Manifest) -> str:
    rows = [
        [
            task["name"],
            task["kind"].replace("_", " "),
            task["metric"],
            str(task["traces"]),
            ", ".join(task["relatives"]) or "none",
        ]
        for task in manifest["tasks"]
    ]
    targets = ", ".join(manifest["targets"]) or "none"
    return (
        _table(["task", "kind", "metric", "traces", "relatives (left out together)"], rows)
        + f"\n\nDatasets without traces whose features are shipped, too: {targets}."
    )


def _files(manifest: Manifest) -> str:
    files = "\n".join(
        f"- `{name}`, SHA-256 `{digest}`" for name, digest in manifest["files"].items()
    )
    return f"{files}\n\nAll of it is data; the models are fitted from it when they are needed."


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: Any) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _share(value: Any) -> str:
    return "unknown" if value is None else f"{value:.1%}".replace("%", " %")


def _p_value(value: Any) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}".lstrip("0")
