"""The registered test, run on a few tasks of the shipped prior."""

from __future__ import annotations

import sys
from pathlib import Path

import next_tasks
import numpy as np
import pytest
from compare_surrogates import Judged, World

from metaft.prior.prior import Prior

SHIPPED = Path(__file__).parents[2] / "priors" / "minilm-text-v1"
TASKS = ("emotion", "liar", "snips", "snli")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> World:
    """Let the script see a few tasks of the shipped prior alone."""
    world = World.of(Prior.load(SHIPPED))
    kept = [at for at, row in enumerate(world.rows) if row.task in TASKS]
    small = World(world.table.take(kept), [world.rows[at] for at in kept], world.relatives)
    monkeypatch.setattr(World, "of", lambda prior: small)
    return small


def _run(monkeypatch: pytest.MonkeyPatch, tasks: str) -> None:
    monkeypatch.setattr(sys, "argv", ["next_tasks.py", str(SHIPPED), "--tasks", tasks])
    next_tasks.main()


def test_only_the_named_tasks_are_judged_at_512_rows(
    few: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = next_tasks._blocks_of(few, ["emotion", "snips", "snli"])
    assert [(few.rows[at].task, few.rows[at].train_rows) for at in asked] == [
        *(("emotion", 512), ("snips", 512), ("snli", 512))
    ]
    monkeypatch.setenv("COLUMNS", "140")
    _run(monkeypatch, "emotion,snips,snli")
    shown = capsys.readouterr().out
    for title in ("Models, alone", "Committee less process", "shuffled", "Learned less a rival"):
        assert title in shown
    for line in shown.splitlines():
        if "points  " in line and "/" in line:
            assert line.split("│")[2].strip() == "3"  # a task counts once


def test_errors_are_compared_by_their_ratio() -> None:
    errors = np.array([1.0, 10.0, 100.0])
    zeros = np.zeros(3)
    names = ("a", "b", "c")
    one = Judged(names, zeros, zeros, zeros, errors * np.array([0.5, 0.5, 2.0]))
    other = Judged(names, zeros, zeros, zeros, errors)
    name, compared = next_tasks._compare_logs(one, other)
    assert name == "log error"
    assert compared.mean_difference == pytest.approx(-np.log(2.0) / 3.0)


def test_a_task_without_traces_is_refused(few: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="no traces of trec at about 512 rows"):
        _run(monkeypatch, "emotion,trec")
