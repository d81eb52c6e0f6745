"""The README of a prior: every figure in it comes from its manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from metaft.prior.manifest import Manifest
from metaft.prior.worth import screening_note, screening_table, worth_notes, worth_tables
from metaft.recipes import PLAIN

_MEANING = {
    "learned": "what `metaft suggest` answers",
    "learned-cost": "what `metaft suggest --goal cost` answers",
    "learned-race": "the first 3 that `metaft suggest` answers, begun; the leader after an epoch "
    "goes on",
    "surrogate": "the model alone, whatever leave-one-out says of it",
    "pooled": "what it falls back on: sizes and backbones lend to each other",
    "plain": "5e-5, three epochs, nothing frozen",
    "best-average": "the best mean over the training tasks, of the same backbone and size",
    "best-average-of-all": "the best mean over all traces",
    "best-learning-rate": "the best learning rate, all else as in plain",
    "1-nn": "the best recipe of the nearest task",
    "10-nn": "the best mean over the ten nearest tasks",
    "cost-aware-N": "successive halving, begun with N random recipes for one epoch",
    "portfolio-N": "the N recipes that do best together elsewhere, the best on validation",
    "portfolio-race-N": "a portfolio of N, begun; the leader after an epoch goes on",
    "race-N": "the N recipes that are best on average, begun; the leader after an epoch goes on",
    "random-N": "random search, N full runs, the best on validation",
    "tpe-N": "TPE, N full runs, the best on validation",
}

_SHOWN = ("methods", "points", "slices", "transfer", "goals")
"""Tables; `metaft prior check` prints the others, too."""


def render_readme(manifest: Manifest) -> str:
    """Return the README of a prior, in Markdown."""
    parts = [
        _introduction(manifest),
        "## What it is worth",
        _worth(manifest),
        *_figures(manifest),
        *_screening(manifest),
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
            "**The features did not tell left-out profiles better than what is pooled without "
            "them, so the pooled ranking is what this prior suggests.** Its features serve to "
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
        "best recipe is than the median one (at least 3 points). Rank is the mean rank by "
        "points; time is that of all runs a method makes, in runs of plain; runs that are cut "
        "short count as the share of their epochs."
    )


def _figures(manifest: Manifest) -> Iterator[str]:
    """Yield the tables of the validation, what the methods are, and notes."""
    validation = manifest["validation"]
    for table in worth_tables(validation):
        if table.name in _SHOWN:
            yield f"### {table.title}\n\n{_table(table.columns, table.rows)}"
        if table.name == "methods":
            yield _explain(validation["methods"])
    notes = worth_notes(validation)
    if notes:
        yield "### Notes\n\n" + "\n".join(f"- {note}" for note in (*notes, _machine(manifest)))


def _screening(manifest: Manifest) -> Iterator[str]:
    """Yield what is known of the fields that no model varies, where they were screened."""
    screening = manifest.screening
    if screening is None:
        return
    stored = manifest["screening"]
    sizes = ", ".join(f"{size:,}" for size in screening.train_rows)
    plain = PLAIN.to_mapping()
    base = ", ".join(
        f"{name}={value}"
        for name, value in screening.base.to_mapping().items()
        if value != plain[name]
    )
    yield "## Fields that were screened"
    yield (
        f"{screening.traces:,} traces on {len(screening.tasks)} tasks at {sizes} rows on "
        f"{', '.join(screening.backbones)} differ from one base recipe ({base}; the rest as in "
        f"plain) in one field alone. {screening_note(stored)} The rule is that of docs/prior.md; "
        "the figures above know nothing of it, and a prediction does not count the gain."
    )
    table = screening_table(stored)
    yield f"### {table.title}\n\n{_table(table.columns, table.rows)}"


def _explain(methods: Iterable[str]) -> str:
    """Say what each method is, searches of any size together."""
    names = dict.fromkeys(n if n in _MEANING else f"{n.rpartition('-')[0]}-N" for n in methods)
    return "\n".join(f"- {name}: {_MEANING[name]}" for name in names)


def _machine(manifest: Manifest) -> str:
    machine = manifest["machine"]
    return (
        f"Times are those of one thread of {machine['cpu_model'] or 'an unknown processor'} with "
        f"a core of its own, in the precision {machine['precision']}; memory is that of a process "
        "that records."
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


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
