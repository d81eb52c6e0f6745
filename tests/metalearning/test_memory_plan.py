"""The memory that is said beforehand is what a training then holds."""

from __future__ import annotations

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from metaft.finetuning.device import Compute
from metaft.metalearning import memory_plan
from metaft.metalearning.algorithms import ALGORITHMS
from metaft.metalearning.memory_plan import plan_memory

_MIB = 1 << 20


@pytest.fixture
def build(tiny_text_backbone, tiny_task, small_settings, episode_batches):
    """Return a factory of (algorithm, episodes) in which graphs outweigh weights."""

    def build(name, **changed):
        settings = small_settings(algorithm=name, shots=(16,), ways=(3,), **changed)
        backbone = tiny_text_backbone()
        backbone.freeze(1e-6)
        task = tiny_task(rows=120, classes=3)
        algorithm = ALGORITHMS[name](backbone, settings, Compute("cpu", "fp32"))
        episodes = [episode_batches(task, backbone, settings, number) for number in range(3)]
        return algorithm, episodes

    return build


@pytest.mark.parametrize("steps", [1, 4])
def test_what_an_adaptation_keeps_is_what_was_said(build, steps):
    algorithm, episodes = build("maml", inner_steps=steps)
    plan = plan_memory(algorithm, episodes)

    held = memory_plan._Held(algorithm.backbone.parameters())
    with saved_tensors_hooks(held.pack, held.unpack):
        algorithm.adapt(episodes[0])
    assert held.bytes / _MIB == pytest.approx(plan.step_mib * steps, rel=0.25)


def test_checkpointing_keeps_memory_from_growing_with_the_steps(build):
    few, many = (plan_memory(*build("maml", inner_steps=steps)) for steps in (2, 20))
    assert many.whole_mib > 4 * few.whole_mib
    growth = many.checkpointed_mib - few.checkpointed_mib
    assert growth == pytest.approx(18 * few.weights_mib)


def test_first_order_keeps_one_step(build):
    few, many = (plan_memory(*build("fomaml", inner_steps=steps)) for steps in (2, 20))
    assert many.whole_mib - few.whole_mib == pytest.approx(18 * few.weights_mib)


@pytest.mark.parametrize(
    ("name", "available", "expected"),
    [("maml", 1e6, False), ("maml", 0.001, True), ("maml", None, False), ("reptile", 0.1, False)],
)
def test_auto_checkpoints_where_memory_would_not_suffice(
    build, monkeypatch, name, available, expected
):
    monkeypatch.setattr(memory_plan, "_available_mib", lambda device: available)
    algorithm, episodes = build(name)
    plan = plan_memory(algorithm, episodes)

    assert algorithm.is_checkpointing is plan.is_checkpointing is expected
    assert plan.expected_mib == (plan.checkpointed_mib if expected else plan.whole_mib)


def test_a_setting_is_stronger_than_want_of_memory(build, monkeypatch):
    monkeypatch.setattr(memory_plan, "_available_mib", lambda device: 0.001)
    algorithm, episodes = build("maml", checkpointing="off")
    assert not plan_memory(algorithm, episodes).is_checkpointing


def test_looking_leaves_no_trace(build):
    algorithm, episodes = build("meta-sgd")
    before = {name: value.clone() for name, value in algorithm.backbone.state_dict().items()}
    state = torch.get_rng_state()
    plan_memory(algorithm, episodes)

    after = algorithm.backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(value.grad is None for value in algorithm.learned.values())
    assert torch.equal(torch.get_rng_state(), state)
