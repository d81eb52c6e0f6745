"""Test what docs/prior.md asks of the next tasks ("The next thirty tasks"), once.

    python scripts/next_tasks.py FOLDER --tasks tweet_eval/emotion,rotten_tomatoes,...

The folder is that of a prior fitted to the traces of the first tasks and of the next ones. Every
task is left out with its relatives; figures are over the named tasks alone, at 512 rows on MiniLM.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from compare_surrogates import Judged, World, judge
from fresh_tests import DIFFERENCE, tell_difference
from rich.console import Console
from rich.table import Table
from surrogates import SURROGATES

from metaft.backbones.load import default_backbone
from metaft.prior.judging import judge_methods
from metaft.prior.leaving_out import leave_each_out
from metaft.prior.prior import Prior
from metaft.prior.rivals import METHODS
from metaft.prior.table import Block
from metaft.significance import PairedComparison, compare_paired, holm

TRAIN_ROWS = 512
SHUFFLES = 3
MODELS = ("committee", "process", "forest", "neighbours", "pooled", "cut average", "average")
CHOICES = ("learned", "plain", "best-average", "best-average-of-all", "random-8")
AVERAGES = ("best-average", "best-average-of-all")


def main() -> None:
    """Print the tables."""
    arguments = _parse_arguments()
    world = World.of(Prior.load(arguments.folder))
    asked = _blocks_of(world, arguments.tasks.split(","))
    console = Console()
    judged = {name: judge(world, SURROGATES[name], rows=asked) for name in MODELS}
    console.print(_figures(judged))
    tested = (judged["committee"], judged["process"])
    console.print(
        _tests(
            "Committee less process",
            [_compare(*tested, "points"), _compare(*tested, "error"), _compare_logs(*tested)],
        )
    )
    console.print(_tests("Committee with shuffled features less pooled", _control(world, asked)))
    console.print(*_choices(world, asked))


def _blocks_of(world: World, tasks: Sequence[str]) -> list[int]:
    """Return the numbers of the blocks that are asked about.

    Raises:
        SystemExit: If a task has none.
    """
    alike = Block("", default_backbone("text"), TRAIN_ROWS).likes
    found = [
        at for at, row in enumerate(world.rows) if row.task in tasks and row.block.likes == alike
    ]
    if missing := sorted(set(tasks) - {world.rows[at].task for at in found}):
        raise SystemExit(f"the prior has no traces of {missing[0]} at about {TRAIN_ROWS} rows")
    return found


_Test = tuple[str, PairedComparison]


def _compare(one: Judged, other: Judged, figure: str) -> _Test:
    return figure, compare_paired(getattr(one, figure), getattr(other, figure))


def _compare_logs(one: Judged, other: Judged) -> _Test:
    """Compare the errors by their ratio: no task counts for more since its scores scatter more."""
    return "log error", compare_paired(np.log(one.error), np.log(other.error))


def _control(world: World, asked: Sequence[int]) -> list[_Test]:
    """Compare what a committee expects from other tasks' features with what is pooled."""
    pooled = judge(world, SURROGATES["pooled"], rows=asked)
    shuffled = [
        judge(world.shuffled(seed), SURROGATES["committee"], rows=asked) for seed in range(SHUFFLES)
    ]
    return [
        (figure, compare_paired(_mean(shuffled, figure), getattr(pooled, figure)))
        for figure in ("points", "error")
    ]


def _mean(judged: Sequence[Judged], figure: str) -> np.ndarray:
    mean: np.ndarray = np.mean([getattr(one, figure) for one in judged], axis=0)
    return mean


def _choices(world: World, asked: Sequence[int]) -> list[Table]:
    """Judge the suggestion as `metaft prior check` does, on the blocks that are asked about."""
    left_out = leave_each_out(world.table, world.rows, world.relatives)
    own = [left for left in left_out if left.row in set(asked)]
    judged = judge_methods(world.table, own, {name: METHODS[name] for name in CHOICES})
    table = Table("method", "points", "regret", "time", title="Suggestions, in runs of plain")
    for name, figures in judged.means().items():
        shown = (f"{figures[key]:.2f}" for key in ("points", "regret", "relative_seconds"))
        table.add_row(name, *shown)
    points = {name: judged.per_task(name, "points") for name in CHOICES}
    rivals = [name for name in AVERAGES if name in points]
    compared = [(name, compare_paired(points["learned"], points[name])) for name in rivals]
    return [table, _tests("Learned less a rival, points, corrected by Holm", compared, True)]


def _figures(judged: dict[str, Judged]) -> Table:
    table = Table("model", "points", "regret", "normalised", "error", title="Models, alone")
    for name, figures in judged.items():
        table.add_row(name, *(f"{value:.2f}" for value in figures.means))
    return table


def _tests(title: str, tests: Sequence[_Test], is_corrected: bool = False) -> Table:
    table = Table("figure", "tasks", *DIFFERENCE, title=title)
    t = [found.t_test.p_value for _, found in tests]
    wilcoxon = [found.wilcoxon.p_value for _, found in tests]
    if is_corrected:
        t, wilcoxon = list(holm(t)), list(holm(wilcoxon))
    for (name, found), one, other in zip(tests, t, wilcoxon, strict=True):
        table.add_row(name, str(found.pairs), *tell_difference(found, one, other))
    return table


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of a prior: its traces and features")
    parser.add_argument("--tasks", required=True, help="the next tasks, separated by commas")
    return parser.parse_args()


if __name__ == "__main__":
    main()
