from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import pytest

from metaft.comparing.protocol import ComparisonPlan
from metaft.comparing.races import race_keys, races_of, settle_races
from metaft.recipes import Recipe
from metaft.traces.trace import Trace

if TYPE_CHECKING:
    from tests.comparing.conftest import Comparison

RACERS = tuple(Recipe(learning_rate=rate) for rate in (1e-4, 2e-4, 3e-4))


@pytest.fixture
def raced(comparison: Comparison) -> tuple[ComparisonPlan, Trace]:
    """Return a plan with a race on one seed, and a trace to make others of."""
    plan, traces = comparison({"mail": {"plain": [0.7], "race": [0.7]}})
    (task,) = plan.tasks
    choice = dataclasses.replace(task.choices["race"], recipe=RACERS[0], racers=RACERS)
    racing = dataclasses.replace(
        task,
        choices={**task.choices, "race": choice},
        trace_ids={("plain", 0): task.trace_ids["plain", 0]},
    )
    return dataclasses.replace(plan, tasks=(racing,)), traces["mail/plain/0"]


def _first_epochs(plan: ComparisonPlan, like: Trace, points: list[float]) -> dict[str, Trace]:
    """Return traces of one epoch; NaN is a run that diverged in it."""
    traces = {}
    for key, value in zip(race_keys(plan), points, strict=True):
        epoch = dataclasses.replace(like.curve[0], validation={"accuracy": value / 100})
        is_ok = not math.isnan(value)
        traces[key] = dataclasses.replace(
            like,
            trace_id=key,
            curve=(epoch,) if is_ok else (),
            status="ok" if is_ok else "diverged",
        )
    return traces


def test_every_racer_runs_one_epoch_of_its_own_schedule(raced) -> None:
    plan, _ = raced
    runs = races_of(plan)
    assert [run.recipe for run in runs] == [racer.truncated(1) for racer in RACERS]
    assert len(set(race_keys(plan))) == 3


@pytest.mark.parametrize(
    ("points", "winner"),
    [
        ([70.0, 71.0, 69.0], 0),  # a lead within the noise of the validation rows
        ([70.0, 75.0, 74.0], 1),
        ([math.nan, 60.0, 61.0], 2),
        ([math.nan, math.nan, math.nan], 0),
    ],
)
def test_the_winner_goes_on(raced, points: list[float], winner: int) -> None:
    plan, like = raced
    settled = settle_races(plan, _first_epochs(plan, like, points))
    (task,) = settled.tasks
    assert task.recipe_of("race", 0) == RACERS[winner]
    assert task.trace_ids["race", 0] == task.key_of(RACERS[winner], 0)
    lost = [racer for at, racer in enumerate(RACERS) if at != winner]
    assert task.given_up["race", 0] == tuple(task.key_of(r.truncated(1), 0) for r in lost)
    assert [run.recipe for run in settled.runs][1:] == [RACERS[winner]]


def test_a_race_with_a_racer_to_come_has_no_winner(raced) -> None:
    plan, like = raced
    traces = _first_epochs(plan, like, [70.0, 75.0, 74.0])
    traces.pop(race_keys(plan)[2])
    settled = settle_races(plan, traces)
    assert settled.tasks[0].recipe_of("race", 0) is None
    assert len(settled.runs) == 1  # plain's
