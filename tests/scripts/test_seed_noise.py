"""The scatter between seeds, on traces made up."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence

import pytest
import seed_noise
from tests.traces.conftest import build_trace

from metaft.recipes import Recipe
from metaft.traces.trace import Trace

SLOW, FAST = Recipe(epochs=2), Recipe(epochs=2, learning_rate=3e-4, frozen_fraction=0.5)
SCORES = {
    SLOW: {"a": (0.70, 0.74), "b": (0.5, 0.6), "once": (0.1,)},
    FAST: {"a": (0.72, 0.76), "b": (0.6, 0.5)},
}


@pytest.fixture
def traces() -> list[Trace]:
    return list(_made_up(SCORES))


def _made_up(scores: Mapping[Recipe, Mapping[str, Sequence[float]]]) -> Iterator[Trace]:
    for recipe, tasks in scores.items():
        for task, values in tasks.items():
            for seed, value in enumerate(values):
                own = dataclasses.replace(recipe, seed=seed)
                test = {"accuracy": value}
                yield build_trace(recipe=own, task=task, seed=seed, test=test)


def test_deviations_are_those_between_the_seeds_of_a_task(traces) -> None:
    slow, fast = seed_noise.of_scores(seed_noise.gather(traces))
    assert (slow.what, fast.what) == ("5e-05", "0.0003, 50% frozen")
    assert slow.tasks == fast.tasks == 2, "one seed says nothing"
    assert slow.largest == pytest.approx(statistics.stdev((50, 60)))
    assert slow.mean == pytest.approx((statistics.stdev((70, 74)) + slow.largest) / 2)


def test_what_seeds_have_in_common_is_not_in_a_difference(traces) -> None:
    (line,) = seed_noise.of_differences(seed_noise.gather(traces[:2] + traces[5:7]))
    assert line.mean == pytest.approx(0)
    (line,) = seed_noise.of_differences(seed_noise.gather(traces))
    assert line.largest == pytest.approx(statistics.stdev((-10, 10)))


def test_the_winner_of_a_task_may_change_with_the_seed(traces) -> None:
    said = seed_noise.same_winner(seed_noise.gather(traces))
    assert said == "The same recipe is best with every seed on 1 of 2 tasks."


def test_a_failed_run_has_no_score(traces) -> None:
    failed = dataclasses.replace(traces[1], status="failed")
    (slow, _) = seed_noise.of_scores(seed_noise.gather([traces[0], failed, *traces[2:]]))
    assert slow.tasks == 1
