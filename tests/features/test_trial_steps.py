from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from metaft.features import trial_steps
from metaft.features.trial import (
    TRIAL_COSTS,
    TRIAL_FEATURES,
    TRIAL_MEANINGS,
    TRIAL_RATES,
    TRIAL_STEPS,
)
from metaft.features.trial_steps import take_trial
from metaft.finetuning.device import Compute
from metaft.finetuning.optimizers import build_optimizer
from metaft.finetuning.stepper import Stepper
from metaft.tasks.task import Split

_FINAL_DROP = next(reversed(TRIAL_RATES))


def _measured(task, backbone, rows: int = 80) -> dict[str, float]:
    found = take_trial(task, backbone, train_rows=rows, device="cpu")
    return {name: found[name] for name in TRIAL_FEATURES}


def _numbers_of(module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("kind", ["classification", "pair_classification", "regression"])
def test_every_kind_of_text_is_measured(kind, tiny_task, tiny_text_backbone) -> None:
    found = take_trial(tiny_task(rows=80, kind=kind), tiny_text_backbone(), train_rows=80)
    assert tuple(found) == (*TRIAL_FEATURES, *TRIAL_COSTS)
    assert all(math.isfinite(value) for value in found.values())


def test_images_are_measured_and_batchnorm_stays(tiny_task, tiny_image_backbone) -> None:
    backbone = tiny_image_backbone()
    before = _numbers_of(backbone)
    found = take_trial(
        tiny_task(kind="image_classification", rows=80), backbone, train_rows=80, device="cpu"
    )
    assert all(math.isfinite(value) for value in found.values())
    assert _numbers_of(backbone) == before


def test_backbone_stays_bit_for_bit_as_it_was(tiny_task, tiny_text_backbone) -> None:
    backbone = tiny_text_backbone()
    before, training = _numbers_of(backbone), backbone.training
    _measured(tiny_task(rows=80), backbone)
    assert _numbers_of(backbone) == before
    assert backbone.training == training
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_same_numbers_on_repetition(tiny_task, tiny_text_backbone) -> None:
    task, backbone = tiny_task(rows=80), tiny_text_backbone()
    first = _measured(task, backbone)
    torch.manual_seed(123)
    assert _measured(task, backbone) == first


def test_only_training_rows_are_looked_at(tiny_task, tiny_text_backbone) -> None:
    task, other = tiny_task(rows=80), tiny_task(rows=80, seed=5)
    swapped = task.replaced(validation=other.validation, test=other.test)
    assert _measured(task, tiny_text_backbone()) == _measured(swapped, tiny_text_backbone())


def test_gradient_agrees_with_finite_differences(tiny_task, tiny_text_backbone) -> None:
    trial = trial_steps._Trial.prepare(tiny_task(rows=80), tiny_text_backbone(), "cpu")
    trial.feed = dataclasses.replace(trial.feed, compute=Compute("cpu", "fp32"))
    rows, bias, step = trial.batches[0], trial.model.head.bias, 1e-2
    slope = float(trial._gradient(rows)[bias][0])
    losses = []
    for moved in (step, -2 * step):  # up, and from there down
        with torch.no_grad():
            bias[0] += moved
            losses.append(float(trial._loss_of(rows)))
    assert slope == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-3)


def test_known_first_gradient_gives_the_steps_of_the_loop(tiny_task, tiny_text_backbone) -> None:
    task, backbone, rate = tiny_task(rows=80), tiny_text_backbone(), 3e-4
    ours, theirs = (trial_steps._Trial.prepare(task, backbone, "cpu") for _ in range(2))
    ours._steps(rate, ours._gradient(ours.batches[0]))
    recipe = trial_steps._recipe(rate)
    optimizer = build_optimizer(theirs.model, recipe)
    objective = theirs.objective.at(recipe)
    stepper = Stepper(theirs.model, optimizer, objective, theirs.feed.compute, TRIAL_STEPS)
    for rows in theirs.batches:
        stepper.step(theirs.feed, rows)
    assert len(theirs.batches) == TRIAL_STEPS
    assert _numbers_of(ours.model) == _numbers_of(theirs.model)


def test_higher_rates_take_more_loss_away_where_one_answer_is_right(
    tiny_task, tiny_text_backbone
) -> None:
    task = tiny_task(rows=80)
    alike = Split(labels=np.zeros(80, dtype=np.int64), texts=task.train.texts)
    found = _measured(task.replaced(train=alike), tiny_text_backbone())
    drops = [found[name] for name in TRIAL_RATES]
    assert 0 < drops[0] < drops[1] < drops[2] < 1


def test_a_loss_that_grows_counts_down_to_a_limit() -> None:
    assert trial_steps._drop(2.0, 0.5) == 0.75
    assert trial_steps._drop(1.0, 3.0) == -2.0
    assert trial_steps._drop(1.0, 40.0) == trial_steps._drop(1.0, math.nan) == -3.0


def test_batches_of_one_text_agree_and_those_of_noise_do_not(tiny_task, tiny_text_backbone) -> None:
    task = tiny_task(rows=80)
    alike = Split(labels=np.zeros(80, dtype=np.int64), texts=("the old river",) * 80)
    noise = Split(labels=np.random.default_rng(0).integers(0, 2, 80), texts=task.train.texts)
    same = _measured(task.replaced(train=alike), tiny_text_backbone())["trial_agreement"]
    other = _measured(task.replaced(train=noise), tiny_text_backbone())["trial_agreement"]
    assert same == pytest.approx(1.0, abs=1e-3)
    assert other < 0.9


def test_few_rows_are_measured_as_far_as_they_go(tiny_task, tiny_text_backbone) -> None:
    found = _measured(tiny_task(rows=16), tiny_text_backbone(), rows=16)
    assert math.isnan(found["trial_agreement"])  # There is one batch.
    assert math.isfinite(found[_FINAL_DROP])
    fewest = take_trial(tiny_task(rows=16), tiny_text_backbone(), train_rows=7)
    assert all(math.isnan(value) for value in fewest.values())


def test_want_of_memory_is_unknown_not_an_error(tiny_task, tiny_text_backbone, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(trial_steps._Trial, "run", fail)
    found = take_trial(tiny_task(rows=80), tiny_text_backbone(), train_rows=80)
    assert all(math.isnan(value) for value in found.values())


def test_every_name_has_a_meaning() -> None:
    assert all(TRIAL_MEANINGS[name] for name in TRIAL_FEATURES)
