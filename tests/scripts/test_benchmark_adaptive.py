"""The benchmark of the adaptive schedule, on traces made up and on a tiny model."""

from __future__ import annotations

import dataclasses

import benchmark_adaptive
import pytest
from tests.traces.conftest import build_trace

from metaft.recipes import Recipe


def test_methods_are_judged_by_the_best_of_all(tiny_task) -> None:
    recipes = benchmark_adaptive.recipes_of(tiny_task(), 2e-4, epochs=2)
    assert {recipe.epochs for recipe in recipes.values()} == {2}
    traces = []
    for at, (method, recipe) in enumerate(recipes.items()):
        for seed in range(2):
            own = dataclasses.replace(recipe, seed=seed)
            trace = build_trace(f"{at:030d}{seed:02d}", recipe=own, seed=seed)
            if not method.startswith(("adaptive", "hand-tuned 3e-05")):  # These two are best.
                curve = tuple(
                    dataclasses.replace(r, validation={**r.validation, "accuracy": 0.6})
                    for r in trace.curve
                )
                trace = dataclasses.replace(
                    trace, curve=curve, validation=curve[-1].validation, test={"accuracy": 0.5}
                )
            traces.append(trace)
    lines = benchmark_adaptive.summarise({"tiny": recipes}, traces, rows=48, epochs=2)
    found = {line.method: line for line in lines}
    assert list(found) == [
        "plain", "prior's rate", "prior's rate, linear", "adaptive", "hand-tuned",
    ]  # fmt: skip
    assert found["adaptive"].epochs_to_near_best == found["hand-tuned"].epochs_to_near_best == 2
    assert (found["plain"].epochs_to_near_best, found["plain"].never) == (3, 1.0)
    assert found["plain"].test == 0.5 < found["hand-tuned"].test
    assert (found["hand-tuned"].trials, found["adaptive"].trials) == (5, 1)
    assert found["adaptive"].deviation == pytest.approx(0.0)


def test_the_overhead_is_a_ratio_of_whole_runs(tiny_text_backbone, tiny_task) -> None:
    recipe = Recipe(epochs=1, precision="fp32", max_length=32)
    figure = benchmark_adaptive.measure_overhead(
        tiny_task(rows=16), tiny_text_backbone(), recipe, rounds=1
    )
    assert figure.cpu.median > 0
    assert figure.goal == pytest.approx(1 / 1.02)
