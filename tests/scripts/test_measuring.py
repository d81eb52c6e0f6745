"""Measuring: turns, ratios within a round, and verdicts."""

from __future__ import annotations

import time

import measuring
import pytest
from measuring import Cost, Figure, Spread


def test_actions_take_turns() -> None:
    done: list[str] = []
    costs = measuring.take_turns(
        {"a": lambda: done.append("a"), "b": lambda: done.append("b")}, rounds=3
    )
    assert done == ["a", "b"] * 3
    assert {name: len(measured) for name, measured in costs.items()} == {"a": 3, "b": 3}


def test_waiting_costs_wall_time_alone() -> None:
    cost = measuring.cost_of(lambda: time.sleep(0.05))
    assert cost.wall_seconds >= 0.05
    assert cost.cpu_seconds < 0.04


def test_a_ratio_is_formed_within_its_round() -> None:
    """The second round met a busy machine: both took twice as long."""
    slow = [Cost(4.0, 3.0), Cost(8.0, 3.0), Cost(5.0, 3.0)]
    fast = [Cost(2.0, 1.0), Cost(4.0, 1.0), Cost(2.0, 2.0)]
    figure = measuring.times_faster("x", slow, fast, goal=2.5)
    assert figure.wall == Spread(2.0, 2.0, 2.5)
    assert figure.cpu == Spread(3.0, 1.5, 3.0)
    assert (figure.verdict("wall"), figure.verdict("cpu")) == ("miss", "pass")


def test_a_figure_without_a_goal_has_no_verdict() -> None:
    assert Figure("x", Spread(1, 1, 1), Spread(1, 1, 1)).verdict("wall") == ""


def test_costs_add_up() -> None:
    assert Cost(1.0, 2.0) + Cost(0.5, 0.25).times(2) == Cost(2.0, 2.5)


def test_the_report_shows_every_figure_and_the_machine(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from metaft.cli.output import print_answer

    figure = Figure("rows per second", Spread(1234.5, 1000, 2000), Spread(0.5, 0.4, 0.6), goal=0.7)
    answer = {
        "machine": measuring.describe_machine(["numpy"]),
        "figures": measuring.table_of([figure], "cpu"),
        "notes": ["Nothing else ran."],
    }
    print_answer(answer, "table", measuring.render)
    shown = " ".join(capsys.readouterr().out.split())
    for part in ("rows per second", "1,234", "0.50 (0.40 to 0.60)", ">= 0.7", "miss", "Nothing"):
        assert part in shown
    assert "numpy_version" in shown
    assert "bf16_flags" in shown
