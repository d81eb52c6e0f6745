"""The rule for a larger fit, on a few tasks of the shipped prior."""

from __future__ import annotations

import sys
from pathlib import Path

import compare_fits
import numpy as np
import pytest
from compare_surrogates import World, judge
from surrogates import SURROGATES

from metaft.prior.described import Described
from metaft.prior.prior import Prior

SHIPPED = Path(__file__).parents[2] / "priors" / "minilm-text-v1"
TASKS = ("emotion", "liar", "snips", "snli")


@pytest.fixture(scope="module")
def whole() -> World:
    world = World.of(Prior.load(SHIPPED))
    return _only(world, [at for at, row in enumerate(world.rows) if _is_asked(row)])


def _is_asked(row: Described) -> bool:
    return row.task in TASKS and row.backbone.endswith("MiniLM-L6-v2") and row.train_rows <= 512


def _only(world: World, kept: list[int]) -> World:
    return World(world.table.take(kept), [world.rows[at] for at in kept], world.relatives)


def test_a_fit_is_judged_as_surrogates_are(whole: World) -> None:
    blocks = [block for block in whole.table.blocks if block.train_rows == 512]
    rows = [whole.table.blocks.index(block) for block in blocks]
    ours = compare_fits.judge_fit(whole, whole, blocks)
    theirs = judge(whole, SURROGATES["process"], rows=rows)
    np.testing.assert_allclose(ours.error, theirs.error)
    np.testing.assert_allclose(ours.points, theirs.points)


def test_what_one_size_lends_to_another_is_seen(
    whole: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_512 = [at for at, row in enumerate(whole.rows) if row.train_rows == 512]
    worlds = iter([_only(whole, at_512), whole])
    monkeypatch.setattr(World, "of", lambda prior: next(worlds))
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr(sys, "argv", ["compare_fits.py", str(SHIPPED), str(SHIPPED)])
    compare_fits.main()
    cells = [line.split("│") for line in capsys.readouterr().out.splitlines()]
    lines = {(c[1].strip(), c[2].strip()): c for c in cells if len(c) > 5}
    assert {title for title, _ in lines} == {"all", "512 rows"}  # those of both
    error = lines["512 rows", "error"]
    assert error[3] != error[4]
    assert error[5].strip() == "4"
