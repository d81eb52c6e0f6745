"""Measure the adaptive schedule against static and hand-tuned rates.

    python scripts/benchmark_adaptive.py --tasks imdb,ag_news --rows 512 --seeds 3 \
        --store sqlite:///adaptive.db [--workers 2]

Every task is run with: plain; the prior's rate, constant and linear; the same rate with the
adaptive schedule; and the rates of a grid, of which the best on validation rows is "hand-tuned".
All have the same budget. Runs are kept in the store, so the same command goes on. What the schedule
itself costs is measured beside it: runs with and without take turns in one process.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Read when the libraries are imported, so it comes first.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import measuring
import torch
from measuring import Figure, times_faster

from metaft.backbones.backbone import Backbone
from metaft.backbones.load import default_backbone, load_backbone
from metaft.finetuning.loop import fine_tune
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.recipes import PLAIN, Recipe
from metaft.tasks.load import load_task
from metaft.tasks.split import subsample
from metaft.tasks.task import Task
from metaft.traces.recorder import record
from metaft.traces.store import TraceStore
from metaft.traces.trace import PlannedRun, Trace

RATES = {"text": (1e-5, 3e-5, 5e-5, 1e-4, 3e-4), "image": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)}
"""The grid of the hand-tuned rate."""

TUNED = "hand-tuned"
MOST_COST = 0.02
NEAR_BEST = 0.95


@dataclass(frozen=True, slots=True)
class Line:
    """What one method reached.

    Attributes:
        method: Its name.
        test: Mean test score, over tasks and seeds.
        deviation: Standard deviation over the seeds of a task, mean over tasks; NaN for one.
        epochs_to_near_best: Epochs up to 95 % of the best validation score that any method
            reached on the task and seed, mean; what never gets there counts one epoch more
            than the budget.
        never: Share of the runs that never get there.
        trials: Runs that it takes per task and seed.
    """

    method: str
    test: float
    deviation: float
    epochs_to_near_best: float
    never: float
    trials: int


def main() -> None:
    """Record what is missing, measure, and print the tables."""
    options = _parse_arguments()
    torch.set_num_threads(1)
    store, names = TraceStore(options.store), options.tasks.split(",")
    planned = {name: _recipes(name, options) for name in names}
    runs = [
        PlannedRun(name, backbone, recipe, options.rows, seed)
        for seed in range(options.seeds)
        for name, (backbone, recipes) in planned.items()
        for recipe in recipes.values()
    ]
    record(runs, store, workers=options.workers, on_trace=_say_trace)
    recipes = {name: wanted for name, (_, wanted) in planned.items()}
    lines = summarise(recipes, store.traces(), options.rows, options.epochs)
    task = subsample(load_task(names[0]), train_rows=options.rows, validation_rows=8, test_rows=8)
    backbone = load_backbone(planned[names[0]][0])
    recipe = Recipe(epochs=2)
    figures = [measure_overhead(task, backbone, recipe, options.rounds)]
    measuring.print_figures(
        figures, options.format, packages=["optuna"], notes=[_in_words(line) for line in lines]
    )


def recipes_of(
    task: Task, rate: float, epochs: int, max_length: int = PLAIN.max_length
) -> dict[str, Recipe]:
    """Return method -> recipe, all with one budget."""
    base = dataclasses.replace(PLAIN, epochs=epochs, max_length=max_length)
    suggested = dataclasses.replace(base, learning_rate=rate)
    return {
        "plain": base,
        "prior's rate": suggested,
        "prior's rate, linear": dataclasses.replace(suggested, schedule="linear"),
        "adaptive": dataclasses.replace(suggested, schedule="adaptive"),
        **{
            f"{TUNED} {other:g}": dataclasses.replace(base, learning_rate=other)
            for other in RATES[task.modality]
        },
    }


def summarise(
    recipes: Mapping[str, Mapping[str, Recipe]], traces: Sequence[Trace], rows: int, epochs: int
) -> list[Line]:
    """Return a line per method; the hand-tuned one has each task's best rate on validation."""
    found: dict[str, dict[str, list[Trace]]] = {}
    for task, wanted in recipes.items():
        for method, recipe in wanted.items():
            found.setdefault(method, {})[task] = [
                trace
                for trace in traces
                if trace.task == task
                and trace.train_rows <= rows
                and dataclasses.replace(trace.recipe, seed=0) == recipe
            ]
    tuned = [method for method in found if method.startswith(TUNED)]
    best = {t: max((found[m][t] for m in tuned), key=_mean_validation) for t in recipes}
    methods = {m: runs for m, runs in found.items() if m not in tuned} | {TUNED: best}
    top = _best_scores(found)
    return [
        _line(method, runs, top, epochs, len(tuned) if method == TUNED else 1)
        for method, runs in methods.items()
    ]


def measure_overhead(task: Task, backbone: Backbone, recipe: Recipe, rounds: int) -> Figure:
    """Let runs with a constant rate and with the adaptive schedule take turns."""
    adaptive = dataclasses.replace(recipe, schedule="adaptive", decay_threshold=0.0)
    cache = PrefixCache(task, backbone)
    actions = {
        "constant": lambda: fine_tune(task, backbone, recipe, cache=cache),
        "adaptive": lambda: fine_tune(task, backbone, adaptive, cache=cache),
    }
    for action in actions.values():
        action()
    costs = measuring.take_turns(actions, rounds, measuring.say_turn)
    what = "constant rate over adaptive schedule, whole runs"
    return times_faster(what, costs["constant"], costs["adaptive"], goal=1 / (1 + MOST_COST))


def _line(
    method: str,
    runs: Mapping[str, list[Trace]],
    top: Mapping[tuple[str, int], float],
    epochs: int,
    trials: int,
) -> Line:
    every = [trace for traces in runs.values() for trace in traces]
    tests = {t: [x.test.get(x.metric, 0.0) for x in traces] for t, traces in runs.items() if traces}
    needed = [_epochs_needed(trace, top[trace.task, trace.seed], epochs) for trace in every]
    deviations = [statistics.stdev(values) for values in tests.values() if len(values) > 1]
    return Line(
        method=method,
        test=statistics.mean(statistics.mean(values) for values in tests.values()),
        deviation=statistics.mean(deviations) if deviations else float("nan"),
        epochs_to_near_best=statistics.mean(needed),
        never=statistics.mean(count > epochs for count in needed),
        trials=trials,
    )


def _epochs_needed(trace: Trace, best: float, epochs: int) -> int:
    near = (r.epoch for r in trace.curve if r.validation[trace.metric] >= NEAR_BEST * best)
    return next(near, epochs + 1)


def _best_scores(
    found: Mapping[str, Mapping[str, list[Trace]]],
) -> dict[tuple[str, int], float]:
    """Return (task, seed) -> the best validation score of any method."""
    top: dict[tuple[str, int], float] = {}
    for runs in found.values():
        for trace in (trace for traces in runs.values() for trace in traces):
            key = trace.task, trace.seed
            top[key] = max(top.get(key, 0.0), trace.validation.get(trace.metric, 0.0))
    return top


def _mean_validation(traces: Sequence[Trace]) -> float:
    scores = [trace.validation.get(trace.metric, 0.0) for trace in traces]
    return statistics.mean(scores) if scores else float("-inf")


def _recipes(name: str, options: argparse.Namespace) -> tuple[str, dict[str, Recipe]]:
    """Ask the prior for a task's rate; return the backbone and the recipes."""
    from metaft.prior.ask import suggest_for

    task = load_task(name)
    backbone = options.backbone or default_backbone(task.modality)
    suggestion = suggest_for(name, backbone=backbone, rows=options.rows, task=task)
    rate = suggestion.recipe.learning_rate
    recipes = recipes_of(task, rate, options.epochs, options.max_length)
    return load_backbone(backbone).identity, recipes


def _say_trace(trace: Trace, progress: Any) -> None:
    measuring.say(f"{progress.done} of {progress.total}: {trace.task} {trace.status}")


def _in_words(line: Line) -> str:
    return (
        f"{line.method}: test {line.test:.4f} (deviation over seeds {line.deviation:.4f}), "
        f"{line.epochs_to_near_best:.1f} epochs to {NEAR_BEST:.0%} of the best "
        f"({line.never:.0%} never), {line.trials} run(s) per task"
    )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", default="sms_spam", help="names, separated by commas")
    parser.add_argument("--backbone", help="default: that of the task's modality")
    parser.add_argument("--rows", type=int, default=512, help="training rows")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--max-length", type=int, default=PLAIN.max_length, help="tokens per row")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5, help="of the overhead")
    parser.add_argument("--store", default="sqlite:///adaptive.db", help="a SQLAlchemy URL")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--format", choices=["table", "json", "yaml"], default="table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
