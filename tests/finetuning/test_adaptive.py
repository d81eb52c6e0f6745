from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

from metaft.finetuning.adaptive import AdaptiveRate
from metaft.finetuning.loop import begin_run, fine_tune
from metaft.recipes import Recipe


def _schedule(**settings) -> tuple[torch.optim.Optimizer, AdaptiveRate]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=1.0, momentum=0.9)
    return optimizer, AdaptiveRate(optimizer, lookahead_steps=10, **settings)


def _feed(optimizer, schedule, losses) -> list[float]:
    """Return the rate that each step was taken with."""
    rates = []
    for loss in losses:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step(loss)
    return rates


def test_it_is_a_schedule_of_torch() -> None:
    _, schedule = _schedule()
    assert isinstance(schedule, torch.optim.lr_scheduler.LRScheduler)
    assert schedule.get_last_lr() == [1.0]


def test_a_falling_loss_keeps_the_rate() -> None:
    optimizer, schedule = _schedule()
    assert set(_feed(optimizer, schedule, [2 * 0.99**at for at in range(100)])) == {1.0}


def test_a_flat_loss_lowers_the_rate_down_to_the_floor() -> None:
    optimizer, schedule = _schedule(decay_factor=0.1, floor=0.01)
    rates = _feed(optimizer, schedule, [1.0] * 60)
    # The first look has nothing to compare with.
    assert rates == pytest.approx([1.0] * 20 + [0.1] * 10 + [0.01] * 30)


def test_patience_waits_for_poor_looks_in_a_row() -> None:
    optimizer, schedule = _schedule(patience=2)
    rates = _feed(optimizer, schedule, [1.0] * 40)
    assert rates == pytest.approx([1.0] * 30 + [0.1] * 10)


def test_an_improvement_above_the_threshold_counts() -> None:
    losses = [1.0] * 10 + [0.985] * 10 + [0.98] * 10
    optimizer, schedule = _schedule(threshold=0.01)
    _feed(optimizer, schedule, losses)
    assert schedule.factor == pytest.approx(0.1)  # 1.5 % was enough, 0.5 % was not.


def test_the_rate_rises_over_the_warmup_before_the_first_look() -> None:
    optimizer, schedule = _schedule(warmup_steps=4)
    assert _feed(optimizer, schedule, [1.0] * 6) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


@pytest.mark.parametrize("bad", [math.nan, math.inf, 50.0])
def test_divergence_steps_back_to_the_last_good_state(bad: float) -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    schedule = AdaptiveRate(optimizer, lookahead_steps=10)
    for _ in range(10):
        parameter.grad = torch.ones(2)
        optimizer.step()
        schedule.step(1.0)
    good = parameter.detach().clone()
    momentum = optimizer.state[parameter]["momentum_buffer"].clone()
    parameter.grad = torch.full((2,), math.nan)
    optimizer.step()
    schedule.step(bad)
    assert torch.equal(parameter, good)
    assert torch.equal(optimizer.state[parameter]["momentum_buffer"], momentum)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    assert (schedule.returns, schedule.is_lost) == (1, False)


def test_a_loss_back_where_it_began_is_divergence_too() -> None:
    optimizer, schedule = _schedule()
    _feed(optimizer, schedule, [1.0, *[0.2] * 9, *[1.0] * 10])
    assert schedule.returns == 1


def test_it_steps_back_only_so_often() -> None:
    optimizer, schedule = _schedule(most_returns=2)
    _feed(optimizer, schedule, [1.0, *[math.nan] * 3])
    assert (schedule.returns, schedule.is_lost) == (2, True)
    assert math.isnan(schedule.recent_loss)


@pytest.mark.parametrize(("bad", "returned_at"), [(math.nan, 6), (1.0, -1)])
def test_a_glance_between_two_steps_sets_the_rate_of_the_next_one(
    bad: float, returned_at: int
) -> None:
    """As at the end of an epoch: no step of the schedule comes in between."""
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    schedule = AdaptiveRate(optimizer, lookahead_steps=2)
    schedule._glance_steps = 4  # So that the last two losses have not been seen.
    _feed(optimizer, schedule, [1.0] * 4 + [bad] * 2)
    assert optimizer.param_groups[0]["lr"] == 1.0
    assert schedule.glance() == returned_at
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_a_saved_schedule_goes_on() -> None:
    optimizer, schedule = _schedule(patience=2)
    _feed(optimizer, schedule, [1.0] * 25)
    saved = copy.deepcopy(schedule.state_dict())
    _, other = _schedule(patience=2)
    other.load_state_dict(saved)
    rates = [_feed(s.optimizer, s, [1.0] * 20) for s in (schedule, other)]
    assert rates[1][1:] == rates[0][1:]


RECIPE = Recipe(
    learning_rate=1e-2, epochs=6, batch_size=8, precision="fp32", max_length=32, schedule="adaptive"
)


def test_a_run_lowers_its_rate_where_the_loss_gets_no_better(tiny_text_backbone, tiny_task) -> None:
    recipe = dataclasses.replace(RECIPE, decay_threshold=0.9, decay_factor=0.5)
    run = begin_run(tiny_task(), tiny_text_backbone(), recipe)
    run.advance()
    assert run.stepper is not None
    assert run.stepper.optimizer.param_groups[0]["lr"] < 1e-2
    assert run.status == "ok"


def test_a_run_that_diverges_goes_on_from_its_last_good_state(
    tiny_text_backbone, tiny_task, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metaft.finetuning import objectives

    calls = iter(range(1000))
    plain_loss = objectives.loss_of

    def spoiled(*given):
        return plain_loss(*given) * (math.nan if next(calls) == 20 else 1.0)

    monkeypatch.setattr(objectives, "loss_of", spoiled)
    outcome = fine_tune(tiny_task(rows=48), tiny_text_backbone(), RECIPE).outcome
    assert outcome.status == "ok"
    assert len(outcome.curve) == RECIPE.epochs
    assert all(math.isfinite(record.train_loss) for record in outcome.curve)
    steady = dataclasses.replace(RECIPE, schedule="constant")
    calls = iter(range(1000))
    assert fine_tune(tiny_task(rows=48), tiny_text_backbone(), steady).outcome.status == "diverged"
