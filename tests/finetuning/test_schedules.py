from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_scheduler

from metaft.finetuning.schedules import rate_factor
from metaft.recipes import Recipe, Schedule


@given(
    schedule=st.sampled_from(["constant", "linear"]),
    warmup=st.floats(0, 1),
    total=st.integers(1, 400),
)
def test_the_rate_stays_between_zero_and_its_peak(
    schedule: Schedule, warmup: float, total: int
) -> None:
    recipe = Recipe(schedule=schedule, warmup_fraction=warmup)
    factors = [rate_factor(recipe, step, total) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors)
    warmup_steps = round(warmup * total)
    assert factors[:warmup_steps] == sorted(factors[:warmup_steps])


@pytest.mark.parametrize(("schedule", "theirs"), [("constant", "constant"), ("linear", "linear")])
def test_without_warmup_it_is_the_schedule_of_transformers(schedule: Schedule, theirs: str) -> None:
    recipe = Recipe(schedule=schedule, warmup_fraction=0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = get_scheduler(theirs, optimizer, num_warmup_steps=0, num_training_steps=20)
    for step in range(20):
        assert rate_factor(recipe, step, 20) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()


def test_the_warmup_is_as_many_steps_under_a_smaller_budget() -> None:
    long = Recipe(epochs=6, warmup_fraction=0.05)
    short = long.truncated(2)
    steps_per_epoch = 32
    for step in range(2 * steps_per_epoch):
        assert rate_factor(short, step, 2 * steps_per_epoch) == rate_factor(
            long, step, 6 * steps_per_epoch
        )
