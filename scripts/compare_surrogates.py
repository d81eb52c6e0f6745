"""Compare what a prior could be made of, on the traces of one: writes the tables of docs/prior.md.

    python scripts/compare_surrogates.py priors/minilm-text-v1 [--only features,tasks]

Every task is left out with its relatives; whatever is fitted, scaled or tuned stays inside the
fold. Each model then takes the recorded cell it expects most of, at full weight and without any
fallback, and is judged as `metaft prior check` judges: regret in points against a best that was
picked on the other half of the test rows. Beside it stand the same with features shuffled, and the
error of the whole profile: the variance of what was expected less what was scored, over the
recorded cells, losses beyond 10 points cut. It tells models apart long before regret does.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from surrogates import SURROGATES, Fit, fit_process

from metaft.prior.calibration import per_task
from metaft.prior.chosen import Chosen
from metaft.prior.described import Described, describe_blocks
from metaft.prior.fitted import read_described
from metaft.prior.judging import judge_one
from metaft.prior.leaving_out import with_relatives
from metaft.prior.places import FEATURE_GROUPS
from metaft.prior.prior import Prior
from metaft.prior.profiles import kept_points
from metaft.prior.table import TraceTable, tabulate
from metaft.prior.validate import shuffle_features
from metaft.significance import compare_paired

SECTIONS = ("surrogates", "features", "tasks", "transfer")
SHUFFLES = 3
DRAWS = 3  # of so many training tasks
TASK_COUNTS = (5, 10, 20, 40)
SIZE_AND_CLASSES = {"labels": ("log2_classes", "log2_rows_per_class")}

Keep = Callable[[Described, Described], bool]
"""Says of a left-out block and a training block whether the latter may be learned from."""


@dataclass(frozen=True, eq=False)
class World:
    """The blocks of a prior, and who is related to whom."""

    table: TraceTable
    rows: Sequence[Described]
    relatives: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, prior: Prior) -> World:
        """Read the traces and features of a prior."""
        table = tabulate(prior.read_traces())
        rows = describe_blocks(table.blocks, read_described(prior.folder))
        return cls(table, rows, prior.manifest.relatives)

    def shuffled(self, seed: int) -> World:
        """Return the same with the features of other tasks."""
        return World(self.table, shuffle_features(self.rows, seed), self.relatives)


@dataclass(frozen=True, eq=False)
class Judged:
    """What a model's choices are worth; arrays are `(tasks,)`.

    Attributes:
        tasks: Names.
        points, regret, normalised: Of the chosen cells.
        error: Of the profiles, in squared points.
    """

    tasks: tuple[str, ...]
    points: np.ndarray
    regret: np.ndarray
    normalised: np.ndarray
    error: np.ndarray

    @property
    def means(self) -> list[float]:
        """Return the figures of a line."""
        of_line = (self.points, self.regret, self.normalised, self.error)
        return [float(values.mean()) for values in of_line]


def judge(
    world: World, fit: Fit, *, keep: Keep = lambda left, other: True, rows: Sequence[int] = ()
) -> Judged:
    """Leave out every task in turn, and judge what a model takes for its blocks.

    Args:
        world: All blocks.
        fit: Fits the model.
        keep: Which of the other blocks may be learned from.
        rows: Blocks that are asked about; none means all.
    """
    asked = list(rows) or range(len(world.rows))
    answers: dict[tuple[int, ...], Callable[[Described], np.ndarray]] = {}
    found, tasks = [], []
    for at in asked:
        training = tuple(training_blocks(world, world.rows[at], keep))
        known = _known_cells(world.table, at, training)
        if not known.size:
            continue
        if training not in answers:
            own = [world.rows[row] for row in training]
            answers[training] = fit(world.table.take(np.array(training)), own)
        effects = answers[training](world.rows[at])
        found.append(_judge_block(world.table, at, known, effects))
        tasks.append(world.rows[at].task)
    figures = [per_task(values, tasks) for values in zip(*found, strict=True)]
    return Judged(tuple(sorted(set(tasks))), *figures)


def training_blocks(
    world: World, left: Described, keep: Keep = lambda left, other: True
) -> Iterator[int]:
    """Yield the numbers of the blocks that may be learned from where a task is left out."""
    gone = with_relatives([left.task], world.relatives)
    for at, other in enumerate(world.rows):
        if other.task not in gone and keep(left, other):
            yield at


def _known_cells(table: TraceTable, at: int, training: Sequence[int]) -> np.ndarray:
    """Return the cells that a block has, and some block that is learned from."""
    elsewhere = np.isfinite(table.test[list(training)]).any(0)
    return np.flatnonzero(np.isfinite(table.test[at]) & elsewhere)


def _judge_block(
    table: TraceTable, at: int, known: np.ndarray, effects: np.ndarray
) -> tuple[float, ...]:
    chosen = Chosen(known[[np.nanargmax(effects[known])]], float("nan"))
    figures = judge_one(table, at, chosen)
    error = profile_error(table.test[at, known], effects[known])
    return figures["points"], figures["regret"], figures["normalised_regret"], error


def profile_error(scores: np.ndarray, expected: np.ndarray) -> float:
    """Return the error of a whole profile in squared points, losses beyond 10 points cut."""
    return float(np.nanvar(kept_points(scores) - expected))


_HEAD = ["points", "regret", "normalised", "error"]


def compare_models(world: World, models: Mapping[str, Fit], *, shuffles: int) -> None:
    """Print a line per model, its lead over the raw average, and the shuffled control."""
    average = judge(world, SURROGATES["average"])
    lines = []
    for name, fit in models.items():
        judged = judge(world, fit)
        lead = compare_paired(judged.points, average.points)
        control = [judge(world.shuffled(seed), fit).regret.mean() for seed in range(shuffles)]
        note = f"{np.mean(control):.2f}" if control else ""
        lines.append(
            [name, *judged.means, f"{lead.mean_difference:+.2f}", _p(lead.wilcoxon.p_value), note]
        )
    _print(["model", *_HEAD, "lead", "Wilcoxon p", "regret shuffled"], lines)


def feature_models() -> dict[str, Fit]:
    """Return the process with some groups of features."""
    models = {"none (pooled)": fit_process({}), "size and classes": fit_process(SIZE_AND_CLASSES)}
    for group, names in FEATURE_GROUPS.items():
        models[f"{group} alone"] = fit_process({group: names})
    for group in FEATURE_GROUPS:
        kept = {name: names for name, names in FEATURE_GROUPS.items() if name != group}
        models[f"all but {group}"] = fit_process(kept)
    return {**models, "all": fit_process()}


def compare_task_counts(world: World) -> None:
    """Print the regret by the number of training tasks."""
    tasks = sorted({row.task for row in world.rows})
    lines = []
    for count in [n for n in TASK_COUNTS if n < len(tasks)] + [len(tasks)]:
        draws = range(DRAWS if count < len(tasks) else 1)
        figures = [
            [judge(world, SURROGATES[name], keep=_among(tasks, count, seed)).means[1]
             for name in ("process", "pooled", "average")]
            for seed in draws
        ]  # fmt: skip
        lines.append([count if count < len(tasks) else f"all ({count})", *np.mean(figures, 0)])
    _print(["training tasks", "process", "pooled", "average"], lines)


def _among(tasks: Sequence[str], count: int, seed: int) -> Keep:
    """Learn from so many tasks, drawn anew for each left-out task."""

    def keep(left: Described, other: Described) -> bool:
        rng = np.random.default_rng([seed, tasks.index(left.task)])
        others = [task for task in tasks if task != left.task]
        return other.task in {others[at] for at in rng.permutation(len(others))[:count]}

    return keep


def compare_transfer(world: World) -> None:
    """Print what is lost where the asked size or backbone was never recorded."""
    lines = []
    sizes = sorted({round(np.log2(row.train_rows)) for row in world.rows})
    backbones = sorted({row.backbone for row in world.rows})
    groups: list[tuple[str, Callable[[Described], object], object]] = []
    if len(sizes) > 1:
        groups += [(f"about {2**size} rows", _size_of, size) for size in sizes]
    if len(backbones) > 1:
        groups += [(name, lambda row: row.backbone, name) for name in backbones]
    for title, key, value in groups:
        rows = [at for at, row in enumerate(world.rows) if key(row) == value]
        for name in ("process", "pooled", "average"):
            seen = judge(world, SURROGATES[name], rows=rows)
            unseen = judge(
                world, SURROGATES[name], rows=rows, keep=lambda a, b, k=key: k(a) != k(b)
            )
            lines.append([title, name, len(seen.tasks), seen.means[1], unseen.means[1]])
    _print(["asked for", "model", "tasks", "regret, recorded", "regret, never recorded"], lines)


def _size_of(row: Described) -> int:
    return round(float(np.log2(row.train_rows)))


def _p(value: float) -> str:
    if value < 0.0005:
        return "< .001"
    return f"{value:.3f}".lstrip("0") if value < 1 else "1"


def _print(head: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    texts = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in line]
             for line in lines]  # fmt: skip
    for row in (head, ["---"] * len(head), *texts):
        print("| " + " | ".join(row) + " |")
    print("")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prior", type=Path, help="folder of a prior: its traces and features")
    parser.add_argument("--only", default=",".join(SECTIONS), help="some of the sections")
    parser.add_argument("--shuffles", type=int, default=SHUFFLES)
    options = parser.parse_args()
    sections = options.only.split(",")
    if unknown := set(sections) - set(SECTIONS):
        parser.error(f"{unknown.pop()!r} is no section; the sections are {', '.join(SECTIONS)}")
    world = World.of(Prior.load(options.prior))
    print(
        f"{len(world.rows)} blocks of {len({row.task for row in world.rows})} tasks; "
        f"Python {platform.python_version()}, scikit-learn {version('scikit-learn')}\n"
    )
    if "surrogates" in sections:
        compare_models(world, SURROGATES, shuffles=options.shuffles)
    if "features" in sections:
        compare_models(world, feature_models(), shuffles=0)
    if "tasks" in sections:
        compare_task_counts(world)
    if "transfer" in sections:
        compare_transfer(world)


if __name__ == "__main__":
    main()
