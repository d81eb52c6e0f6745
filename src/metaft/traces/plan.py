"""From wanted runs to groups of runs that share a worker, a task and a cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from metaft.recipes import Recipe
from metaft.tasks.task import Kind, Metric
from metaft.traces.trace import PlannedRun, trace_id_of


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What the plan must know of a task.

    Attributes:
        fingerprint: Of the whole task; empty where it cannot be loaded.
        train_rows: Training rows it has.
        modality: `text` or `image`.
        problem: Why it cannot be loaded; empty where it can.
        kind, metric: What is predicted, and by what it is judged; of no meaning where the
            task cannot be loaded.
    """

    fingerprint: str = ""
    train_rows: int = 0
    modality: str = ""
    problem: str = ""
    kind: Kind = "classification"
    metric: Metric = "accuracy"


@dataclass(frozen=True, slots=True)
class BackboneFacts:
    """What the plan must know of a backbone.

    Attributes:
        fingerprint: Over its weights; empty where it cannot be loaded.
        modality: `text` or `image`.
        problem, cure: Why it cannot be loaded, and what to do; empty where it can.
    """

    fingerprint: str = ""
    modality: str = ""
    problem: str = ""
    cure: str = ""


@dataclass(frozen=True, slots=True)
class RunGroup:
    """Runs that share tokenised rows and frozen hidden states.

    Attributes:
        task, backbone: Their names.
        train_rows: Training rows that are used.
        seed: Seed of the choice of rows.
        runs: Key -> run.
    """

    task: str
    backbone: str
    train_rows: int
    seed: int
    runs: Mapping[str, PlannedRun]


def plan_runs(
    tasks: Sequence[str],
    backbone: str,
    recipes: Sequence[Recipe],
    *,
    sizes: Sequence[int],
    seeds: int,
) -> list[PlannedRun]:
    """Plan every recipe on every task at every size, with every seed.

    Args:
        tasks: Names of tasks.
        backbone: Identity of the backbone.
        recipes: What to run; their seeds do not matter.
        sizes: Training rows, each >= 1.
        seeds: How many seeds, counted from 0.

    Returns:
        The runs, ordered so that a recording that ends early has gone round all tasks at
        the first size before it begins the next one.
    """
    return [
        PlannedRun(task, backbone, recipe, train_rows, seed)
        for seed in range(seeds)
        for train_rows in sizes
        for task in tasks
        for recipe in recipes
    ]


def problems_of(
    runs: Iterable[PlannedRun],
    tasks: Mapping[str, TaskFacts],
    backbones: Mapping[str, BackboneFacts],
) -> dict[str, str]:
    """Return task -> why it cannot be recorded, for those that cannot."""
    problems = {}
    for run in runs:
        task, backbone = tasks[run.task], backbones[run.backbone]
        if task.problem:
            problems[run.task] = task.problem
        elif task.modality != backbone.modality:
            problems[run.task] = (
                f"it is a task of {task.modality}s, and {run.backbone} takes {backbone.modality}s."
            )
    return problems


def key_runs(
    runs: Iterable[PlannedRun],
    tasks: Mapping[str, TaskFacts],
    backbones: Mapping[str, BackboneFacts],
) -> dict[str, PlannedRun]:
    """Return key -> run, with the training rows that each task really has.

    Runs that turn out to be the same (a task with 200 rows at the sizes 512 and 2,048)
    become one.
    """
    keyed = {}
    for wanted in runs:
        task, backbone = tasks[wanted.task], backbones[wanted.backbone]
        run = dataclasses.replace(wanted, train_rows=min(wanted.train_rows, task.train_rows))
        ids = (
            task.fingerprint,
            backbone.fingerprint,
            run.recipe,
            run.train_rows,
            run.seed,
        )
        keyed[trace_id_of(*ids)] = run
    return keyed


def group_runs(keyed: Mapping[str, PlannedRun], workers: int = 1) -> list[RunGroup]:
    """Group runs by what they can share, and split groups so that no worker stands idle.

    Args:
        keyed: Key -> run.
        workers: Workers that will take whole groups; 1 where they share groups by claims.

    Returns:
        Groups in the order of the runs.
    """
    sharing: dict[tuple[str, str, int, int], dict[str, PlannedRun]] = {}
    for key, run in keyed.items():
        shared = (run.task, run.backbone, run.train_rows, run.seed)
        sharing.setdefault(shared, {})[key] = run
    groups = [RunGroup(*shared, runs) for shared, runs in sharing.items()]
    while len(groups) < workers:
        largest = max(range(len(groups)), key=lambda at: len(groups[at].runs), default=None)
        if largest is None or len(groups[largest].runs) < 2:
            break
        groups[largest : largest + 1] = _halves(groups[largest])
    return groups


def _halves(group: RunGroup) -> list[RunGroup]:
    """Cut a group in two, each recipe in turn, since neighbours cost alike."""
    items: Sequence[tuple[str, PlannedRun]] = list(group.runs.items())
    return [dataclasses.replace(group, runs=dict(items[start::2])) for start in (0, 1)]
