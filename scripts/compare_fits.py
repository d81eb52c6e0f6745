"""Compare the fits of two priors on the blocks that both have: the rule of docs/prior.md.

    python scripts/compare_fits.py priors/minilm-text-v1 FOLDER

A fit to more traces (of other sizes, seeds or backbones) ships in the place of the first one
unless the error of its profiles is higher with both p < .05. Every task is left out with its
relatives, and both fits are judged by the scores that the first one has: more seeds make the truth
of the other surer, and its error smaller, without any merit of the model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from compare_surrogates import World, profile_error, training_blocks
from fresh_tests import DIFFERENCE, tell_difference
from rich.console import Console
from rich.table import Table
from surrogates import Answer, fit_process

from metaft.prior.calibration import per_task
from metaft.prior.described import Described
from metaft.prior.prior import Prior
from metaft.prior.table import Block
from metaft.significance import compare_paired


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit is worth on blocks; arrays are `(blocks,)`.

    Attributes:
        error: Of the profile, in squared points.
        points: Of the cell that is expected to be best.
    """

    error: np.ndarray
    points: np.ndarray


def main() -> None:
    """Print the table: all shared blocks, and those of each size."""
    arguments = _parse_arguments()
    first, second = (World.of(Prior.load(folder)) for folder in arguments.folders)
    shared = [block for block in first.table.blocks if block in set(second.table.blocks)]
    if not shared:
        raise SystemExit("the two priors share no block")
    one, other = (judge_fit(world, first, shared) for world in (first, second))
    table = Table("blocks", "figure", "first", "second", "tasks", *DIFFERENCE)
    for title, rows in _parts(shared):
        tasks = [shared[at].task for at in rows]
        for figure in ("error", "points"):
            values = [per_task(getattr(fit, figure)[rows], tasks) for fit in (one, other)]
            found = compare_paired(values[1], values[0])
            told = tell_difference(found, found.t_test.p_value, found.wilcoxon.p_value)
            means = (f"{value.mean():.2f}" for value in values)
            table.add_row(title, figure, *means, str(found.pairs), *told)
    Console().print(table)


def judge_fit(world: World, truth: World, blocks: Sequence[Block]) -> Fitted:
    """Judge the process as it is fitted to one world by the scores of another."""
    answers: dict[str, Answer] = {}
    found = []
    for block in blocks:
        row = world.rows[world.table.blocks.index(block)]
        if block.task not in answers:  # One fit serves all sizes of a task.
            training = list(training_blocks(world, row))
            own = [world.rows[at] for at in training]
            answers[block.task] = fit_process()(world.table.take(training), own)
        found.append(_judge_block(world, truth, row, answers[block.task]))
    error, points = np.array(found).T
    return Fitted(error, points)


def _judge_block(world: World, truth: World, row: Described, answer: Answer) -> tuple[float, float]:
    effects = dict(zip(world.table.space.cells, answer(row), strict=True))
    scores = truth.table.test[truth.table.blocks.index(row.block)]
    known = np.flatnonzero(np.isfinite(scores))
    expected = np.array([effects[truth.table.space.cells[at]] for at in known])
    chosen = float(scores[known][np.nanargmax(expected)])
    return profile_error(scores[known], expected), chosen


def _parts(blocks: Sequence[Block]) -> list[tuple[str, list[int]]]:
    parts = [("all", list(range(len(blocks))))]
    for size in sorted({block.train_rows for block in blocks}):
        own = [at for at, block in enumerate(blocks) if block.train_rows == size]
        parts.append((f"{size} rows", own))
    return parts


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs=2, help="folders of priors")
    return parser.parse_args()


if __name__ == "__main__":
    main()
