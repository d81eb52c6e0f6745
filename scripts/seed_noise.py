"""Say how much scores scatter between seeds: writes a table of docs/prior.md.

    python scripts/seed_noise.py --store sqlite:///traces.db [--rows 512] [--backbone ID]

A seed decides the training rows, their order, the head and the dropout. Of every recipe that stands
in the store with several seeds on one task: the standard deviation of its test score, mean over the
tasks; and for each two recipes that of their difference, where what a seed does to both is gone.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from metaft.backbones.load import default_backbone, load_backbone
from metaft.prior.space import without_seed
from metaft.recipes import Recipe
from metaft.traces.store import TraceStore
from metaft.traces.trace import Trace

FEWEST_SEEDS = 2

Scores = Mapping[Recipe, Mapping[str, Mapping[int, float]]]
"""Recipe with seed 0 -> task -> seed -> test score in points."""


@dataclass(frozen=True, slots=True)
class Scatter:
    """How much a score, or a difference of two, varies between the seeds of a task.

    Attributes:
        what: In words.
        tasks: How many have several seeds of it.
        mean, median, largest: Of the tasks' standard deviations, in points.
    """

    what: str
    tasks: int
    mean: float
    median: float
    largest: float


def main() -> None:
    """Read the store, and print the table."""
    options = _parse_arguments()
    identity = load_backbone(options.backbone or default_backbone("text")).identity
    traces = TraceStore(options.store, must_exist=True).stream()
    scores = gather(t for t in traces if (t.backbone, t.train_rows) == (identity, options.rows))
    table = Table("test score, points", "tasks", "mean deviation", "median", "largest")
    for line in [*of_scores(scores), *of_differences(scores)]:
        figures = (f"{value:.2f}" for value in (line.mean, line.median, line.largest))
        table.add_row(line.what, str(line.tasks), *figures)
    table.caption = same_winner(scores)
    Console().print(table)


def gather(traces: Iterable[Trace]) -> Scores:
    """Return the test scores of runs that ended well, where a task has several seeds of them."""
    found: dict[Recipe, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for trace in traces:
        if trace.status == "ok":
            score = 100 * trace.test[trace.metric]
            found[without_seed(trace.recipe)][trace.task][trace.seed] = score
    kept = {
        recipe: {task: seeds for task, seeds in tasks.items() if len(seeds) >= FEWEST_SEEDS}
        for recipe, tasks in found.items()
    }
    return {recipe: tasks for recipe, tasks in kept.items() if tasks}


def of_scores(scores: Scores) -> list[Scatter]:
    """Return how each recipe's score scatters."""
    return [
        _scatter(_named(recipe), [list(seeds.values()) for seeds in tasks.values()])
        for recipe, tasks in scores.items()
    ]


def of_differences(scores: Scores) -> list[Scatter]:
    """Return how the difference of each two recipes scatters, on the same seeds."""
    lines = []
    for one, other in itertools.combinations(scores, 2):
        differences = [
            [scores[one][task][seed] - scores[other][task][seed] for seed in seeds]
            for task in scores[one].keys() & scores[other].keys()
            if len(seeds := scores[one][task].keys() & scores[other][task].keys()) >= FEWEST_SEEDS
        ]
        if differences:
            lines.append(_scatter(f"{_named(one)} less {_named(other)}", differences))
    return lines


def same_winner(scores: Scores) -> str:
    """Say on how many tasks one recipe is the best with every seed."""
    by_task = {task for tasks in scores.values() for task in tasks}
    whole = [task for task in by_task if all(task in tasks for tasks in scores.values())]
    same = 0
    for task in whole:
        seeds = set.intersection(*(set(tasks[task]) for tasks in scores.values()))
        same += bool(set.intersection(*(_winners(scores, task, seed) for seed in seeds)))
    return f"The same recipe is best with every seed on {same} of {len(whole)} tasks."


def _winners(scores: Scores, task: str, seed: int) -> set[Recipe]:
    best = max(tasks[task][seed] for tasks in scores.values())
    return {recipe for recipe, tasks in scores.items() if tasks[task][seed] == best}


def _scatter(what: str, values: list[list[float]]) -> Scatter:
    deviations = [statistics.stdev(seeds) for seeds in values]
    return Scatter(
        what,
        len(values),
        statistics.mean(deviations),
        statistics.median(deviations),
        max(deviations),
    )


def _named(recipe: Recipe) -> str:
    frozen = f", {recipe.frozen_fraction:.0%} frozen" if recipe.frozen_fraction else ""
    return f"{recipe.learning_rate:g}{frozen}"


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True, help="a SQLAlchemy URL")
    parser.add_argument("--rows", type=int, default=512, help="training rows")
    parser.add_argument("--backbone", help="default: that of texts")
    return parser.parse_args()


if __name__ == "__main__":
    main()
