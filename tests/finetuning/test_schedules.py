from __future__ import annotations

import typing

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_scheduler

from metaft.finetuning.schedules import build_schedule, rate_factor, warmup_steps_of
from metaft.recipes import Recipe, Schedule

_SCHEDULES = st.sampled_from(typing.get_args(Schedule))


@given(
    schedule=_SCHEDULES,
    warmup=st.floats(0, 1),
    total=st.integers(1, 400),
    cycles=st.integers(1, 7),
)
def test_the_rate_stays_between_zero_and_its_peak(
    schedule: Schedule, warmup: float, total: int, cycles: int
) -> None:
    recipe = Recipe(schedule=schedule, warmup_fraction=warmup, schedule_cycles=cycles)
    factors = [rate_factor(recipe, step, total) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors)
    warmup_steps = round(warmup * total)
    assert factors[:warmup_steps] == sorted(factors[:warmup_steps])


@pytest.mark.parametrize("warmup_steps", [0, 5])
@pytest.mark.parametrize(
    ("fields", "theirs", "settings"),
    [
        ({"schedule": "constant"}, "constant_with_warmup", {}),
        ({"schedule": "adaptive"}, "constant_with_warmup", {}),
        ({"schedule": "linear"}, "linear", {}),
        ({"schedule": "cosine"}, "cosine", {}),
        (
            {"schedule": "cosine", "schedule_cycles": 3},
            "cosine_with_restarts",
            {"num_cycles": 3},
        ),
        (
            {"schedule": "polynomial", "schedule_power": 3.0},
            "polynomial",
            {"lr_end": 0.0, "power": 3.0},
        ),
    ],
)
def test_after_the_warmup_it_is_the_schedule_of_transformers(
    fields: dict, theirs: str, settings: dict, warmup_steps: int
) -> None:
    recipe = Recipe(warmup_steps=warmup_steps, **fields)
    reference = get_scheduler(
        theirs,
        _optimizer(),
        num_warmup_steps=warmup_steps,
        num_training_steps=24,
        scheduler_specific_kwargs=settings,
    )
    for step in range(24):
        if step >= warmup_steps:
            assert rate_factor(recipe, step, 24) == pytest.approx(reference.get_last_lr()[0])
        reference.optimizer.step()
        reference.step()


def test_one_cycle_is_that_of_torch() -> None:
    recipe = Recipe(schedule="one_cycle", warmup_fraction=0.3)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        _optimizer(), max_lr=1.0, total_steps=40, pct_start=0.3, cycle_momentum=False
    )
    for step in range(40):
        assert rate_factor(recipe, step, 40) == pytest.approx(reference.get_last_lr()[0])
        reference.optimizer.step()
        if step < 39:
            reference.step()


def test_triangles_are_those_of_torch() -> None:
    recipe = Recipe(schedule="triangular", warmup_fraction=0.0, schedule_cycles=2)
    reference = torch.optim.lr_scheduler.CyclicLR(
        _optimizer(), base_lr=0.1, max_lr=1.0, step_size_up=10, cycle_momentum=False
    )
    for step in range(40):
        assert rate_factor(recipe, step, 40) == pytest.approx(reference.get_last_lr()[0])
        reference.optimizer.step()
        reference.step()


@given(schedule=_SCHEDULES, warmup=st.floats(0, 0.5))
def test_no_schedule_jumps_where_the_warmup_ends(schedule: Schedule, warmup: float) -> None:
    recipe = Recipe(schedule=schedule, warmup_fraction=warmup)
    factors = [rate_factor(recipe, step, 400) for step in range(400)]
    warmup_steps = round(warmup * 400)
    if warmup_steps > 20:
        before, after = factors[warmup_steps - 1 : warmup_steps + 1]
        assert abs(after - before) < 0.1


def test_a_warmup_in_steps_takes_the_place_of_the_share_and_half_of_a_short_run() -> None:
    recipe = Recipe(warmup_steps=100)
    assert warmup_steps_of(recipe, 1000) == 100
    assert warmup_steps_of(recipe, 96) == 48
    assert warmup_steps_of(Recipe(), 1000) == 100


def test_the_schedule_is_there_for_others_too() -> None:
    recipe = Recipe(schedule="cosine", warmup_fraction=0.25)
    schedule = build_schedule(_optimizer(), recipe, 8)
    for step in range(8):
        assert schedule.get_last_lr()[0] == rate_factor(recipe, step, 8)
        schedule.optimizer.step()
        schedule.step()


def _optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def test_the_warmup_is_as_many_steps_under_a_smaller_budget() -> None:
    long = Recipe(epochs=6, warmup_fraction=0.05)
    short = long.truncated(2)
    steps_per_epoch = 32
    for step in range(2 * steps_per_epoch):
        assert rate_factor(short, step, 2 * steps_per_epoch) == rate_factor(
            long, step, 6 * steps_per_epoch
        )
