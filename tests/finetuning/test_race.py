from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from metaft.finetuning import race as module
from metaft.finetuning.loop import FineTuned, begin_run, fine_tune
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.finetuning.race import race
from metaft.recipes import Recipe

SLOW = Recipe(learning_rate=1e-6, epochs=3, batch_size=8, precision="fp32", max_length=32)
HALF_FROZEN = dataclasses.replace(SLOW, learning_rate=2e-3, frozen_fraction=0.5, epochs=2)
PROBED = dataclasses.replace(HALF_FROZEN, frozen_fraction=0.0, head_init="linear_probe")
LINEAR = dataclasses.replace(PROBED, schedule="linear", head_init="random", epochs=4)
BROKEN = dataclasses.replace(
    SLOW, learning_rate=1.0, max_gradient_norm=1e6, warmup_fraction=0.0, weight_decay=0.0
)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what makes a recipe lead: tiny tasks are learned too well, or not at all."""

    def lead(leader: Recipe) -> None:
        real = module._racer_of

        def racer_of(run: Any) -> Any:
            racer = real(run)
            return dataclasses.replace(racer, score=0.9 if racer.recipe == leader else 0.5)

        monkeypatch.setattr(module, "_racer_of", racer_of)

    return lead


def _assert_same(raced: FineTuned, alone: FineTuned) -> None:
    """The two runs agree to the last bit, in all but their costs."""
    assert raced.model is not None
    assert alone.model is not None
    state = alone.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in raced.model.state_dict().items())
    assert raced.outcome.test == alone.outcome.test
    for ours, theirs in zip(raced.outcome.curve, alone.outcome.curve, strict=True):
        assert (ours.train_loss, ours.validation) == (theirs.train_loss, theirs.validation)


@pytest.mark.parametrize("winner", [SLOW, HALF_FROZEN, PROBED, LINEAR])
def test_the_winner_runs_as_if_alone(tiny_text_backbone, tiny_task, scored, winner: Recipe) -> None:
    """Also under a schedule that depends on the budget: its first epoch is that of the whole."""
    task, backbone = tiny_task(rows=32), tiny_text_backbone()
    scored(winner)
    done = race(task, backbone, [SLOW, HALF_FROZEN, PROBED, LINEAR])
    raced = done.go_on()
    assert done.racers[done.winner].recipe == winner
    _assert_same(raced, fine_tune(task, backbone, winner))


def test_a_run_that_rests_does_not_see_what_others_draw(tiny_text_backbone, tiny_task) -> None:
    task, backbone = tiny_task(rows=32), tiny_text_backbone()
    cache = PrefixCache(task, backbone)
    run = begin_run(task, backbone, PROBED, cache=cache)
    run.advance(1)
    fine_tune(task, backbone, HALF_FROZEN, cache=cache)
    torch.manual_seed(99)
    run.advance()
    _assert_same(run.finish(), fine_tune(task, backbone, PROBED))


def test_all_costs_are_counted_and_all_racers_told(tiny_text_backbone, tiny_task, scored) -> None:
    scored(HALF_FROZEN)
    told = []
    recipes = [SLOW, HALF_FROZEN, PROBED]
    done = race(tiny_task(rows=32), tiny_text_backbone(), recipes, on_racer=told.append)
    assert told == list(done.racers)
    assert [racer.recipe for racer in told] == recipes
    given_up = told[0].costs.wall_seconds + told[2].costs.wall_seconds
    assert done.costs.wall_seconds == pytest.approx(given_up)
    epochs = []
    outcome = done.go_on(on_epoch=lambda record: epochs.append(record.epoch)).outcome
    assert epochs == [2]  # the first was run in the race
    all_first = given_up + told[1].costs.wall_seconds
    assert outcome.costs.wall_seconds > all_first + outcome.curve[1].train_seconds
    facts = done.to_mapping()
    assert [racer["won"] for racer in facts["racers"]] == [False, True, False]
    assert facts["wall_seconds"] == pytest.approx(given_up)


def test_a_racer_that_breaks_off_gives_way(tiny_text_backbone, tiny_task) -> None:
    done = race(tiny_task(rows=32), tiny_text_backbone(), [BROKEN, SLOW])
    assert done.winner == 1
    assert done.racers[0].status == "diverged"
    assert math.isnan(done.racers[0].score)
    assert done.to_mapping()["racers"][0]["validation"] is None
    assert done.go_on().outcome.status == "ok"


def test_where_all_break_off_the_first_says_why(tiny_text_backbone, tiny_task) -> None:
    other = dataclasses.replace(BROKEN, batch_size=4)
    tuned = race(tiny_task(rows=32), tiny_text_backbone(), [BROKEN, other]).go_on()
    assert tuned.model is None
    assert tuned.outcome.status == "diverged"
