"""Show what each kind of task reaches, with `plain` and with the suggested recipe.

    python scripts/benchmark_kinds.py --rows 1000 --store sqlite:///kinds.db [--workers 2]

One run per task and method; its score is that of the test rows (at most 1,000) after the epoch that
the validation rows chose. Beside it stand always answering the most frequent class, and the linear
model on TF-IDF or pixels that the task's card names; that one saw all training rows of the mirror.
A star says that the prior had learned from the task or from a relative of it. Runs are kept in
the store, so the same command goes on.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Read when the libraries are imported, so it comes first.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from metaft.cli.output import print_answer
from metaft.comparing.methods import parse_methods
from metaft.comparing.protocol import ComparisonPlan, PlannedTask, plan_comparison
from metaft.comparing.running import run_comparison, traces_of
from metaft.comparing.scoring import seconds_of
from metaft.comparing.tables import SEEN_MARK
from metaft.tasks.card import load_cards
from metaft.traces.store import TraceStore
from metaft.traces.trace import Trace

TASKS = (
    "conll2003",
    "squad",
    "glue/stsb",
    "cifar10",
    "fashion_mnist",
    "ag_news",
    "imdb",
    "glue/sst2",
)
METHODS = "plain,learned"


@dataclass(frozen=True, slots=True)
class Line:
    """What one method reached on one task.

    Attributes:
        task, kind, metric: Of the task.
        method: `plain` or `learned`.
        is_seen: Whether the prior had learned from this task or a relative of it.
        test: Score on the test rows; NaN where the run is not there or failed.
        guess: Score of the most frequent class.
        baseline: Score of a linear model on TF-IDF or pixels, with all training rows; NaN where
            the card names none.
        seconds: Of the run, without scoring the test rows.
        peak_memory_mib: Of the run.
        recipe: What was run, in a few words.
    """

    task: str
    kind: str
    metric: str
    method: str
    is_seen: bool
    test: float
    guess: float
    baseline: float
    seconds: float
    peak_memory_mib: float
    recipe: str


def lines_of(plan: ComparisonPlan, traces: Mapping[str, Trace]) -> list[Line]:
    """Return a line per task and method."""
    return [
        _line(task, method, traces.get(task.trace_ids[method, 0]))
        for task in plan.tasks
        for method in plan.methods
    ]


def _line(task: PlannedTask, method: str, trace: Trace | None) -> Line:
    card = load_cards().get(task.name)
    baseline = math.nan if card is None or card.baseline_score is None else card.baseline_score
    is_there = trace is not None and trace.status == "ok"
    recipe = task.choices[method].recipe
    return Line(
        task=task.name,
        kind=task.kind,
        metric=task.metric,
        method=method,
        is_seen=task.choices[method].is_seen,
        test=trace.test[task.metric] if is_there and trace else math.nan,
        guess=task.guess_score,
        baseline=baseline,
        seconds=seconds_of(trace, task.rows) if trace else math.nan,
        peak_memory_mib=trace.costs.peak_memory_mib if trace else math.nan,
        recipe=f"{recipe.learning_rate:g}, {recipe.frozen_fraction:.0%} frozen, "
        f"{recipe.epochs} epochs, batch {recipe.batch_size}, {recipe.max_length} tokens, "
        f"{recipe.head_init}",
    )


def _render(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as Markdown."""
    header = ("task", "metric", "method", "test", "guess", "linear", "seconds", "MiB", "recipe")
    rows = [header, ("---",) * len(header)]
    for line in lines:
        scores = (_points(line[name]) for name in ("test", "guess", "baseline"))
        costs = (f"{line[name]:,.0f}" for name in ("seconds", "peak_memory_mib"))
        method = line["method"] + SEEN_MARK * line["is_seen"]
        names = (line["task"], line["metric"], method)
        rows.append((*names, *scores, *costs, line["recipe"]))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _points(score: float) -> str:
    return "" if math.isnan(score) else f"{score:.3f}"


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--store", required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--format", default="table", choices=("table", "json", "yaml"))
    given = parser.parse_args()
    methods = parse_methods(METHODS, offline=True)
    names = given.tasks.split(",")
    plan = plan_comparison(names, methods, seeds=1, train_rows=given.rows, offline=True)
    store = TraceStore(given.store)
    plan, _ = run_comparison(plan, store, workers=given.workers, offline=True)
    found = lines_of(plan, traces_of(plan, store))
    rows = [{name: getattr(line, name) for name in Line.__slots__} for line in found]
    print_answer(rows, given.format, _render)


if __name__ == "__main__":
    main()
