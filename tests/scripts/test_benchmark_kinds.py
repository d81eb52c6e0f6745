"""The table of kinds, on traces made up."""

from __future__ import annotations

import math

import benchmark_kinds
from tests.traces.conftest import build_trace

from metaft.comparing.choice import Choice
from metaft.comparing.protocol import ComparisonPlan, PlannedTask
from metaft.comparing.scoring import RowCounts
from metaft.recipes import HALF_FROZEN, PLAIN


def _task(name: str) -> PlannedTask:
    return PlannedTask(
        name=name,
        kind="classification",
        metric="accuracy",
        backbone="tiny/bert",
        guess_score=0.4,
        rows=RowCounts(48, 24, 24),
        choices={"plain": Choice(PLAIN), "learned": Choice(HALF_FROZEN, is_seen=name == "trec")},
        trace_ids={(method, 0): f"{name} {method}" for method in ("plain", "learned")},
        key_of=lambda recipe, seed: "",
    )


def test_a_line_per_task_and_method() -> None:
    plan = ComparisonPlan(("plain", "learned"), 1, 48, (_task("trec"), _task("a/file.csv")), {})
    trace = build_trace("0" * 32, recipe=PLAIN)
    lines = benchmark_kinds.lines_of(plan, {"trec plain": trace})
    assert [(line.task, line.method) for line in lines] == [
        *(("trec", "plain"), ("trec", "learned")),
        *(("a/file.csv", "plain"), ("a/file.csv", "learned")),
    ]
    assert lines[0].test == trace.test["accuracy"]
    assert lines[0].peak_memory_mib == trace.costs.peak_memory_mib
    assert lines[0].baseline > 0.5
    assert all(math.isnan(line.test) for line in lines[1:])
    assert math.isnan(lines[2].baseline)
    assert lines[1].recipe.startswith("0.0003, 50% frozen, 3 epochs")


def test_the_table_is_markdown() -> None:
    plan = ComparisonPlan(("plain", "learned"), 1, 48, (_task("trec"),), {})
    lines = benchmark_kinds.lines_of(plan, {})
    rows = [
        {name: getattr(line, name) for name in benchmark_kinds.Line.__slots__} for line in lines
    ]
    header, rule, plain, learned = benchmark_kinds._render(rows).splitlines()
    assert header.count("|") == rule.count("|") == plain.count("|") == learned.count("|")
    assert "| 0.400 |" in plain
    assert "| plain |" in plain
    assert "| learned* |" in learned
