"""Adapting to a few rows: by the fine-tuning loop's own steps, from any head, nothing chosen."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from metaft.errors import RecipeError
from metaft.finetuning.loop import fine_tune
from metaft.metalearning.adapting import FewShotProblem, check_frozen_alike
from metaft.recipes import Recipe
from metaft.tasks.few_shot import few_shot_task

RECIPE = Recipe(
    learning_rate=3e-3, frozen_fraction=0.5, batch_size=6, max_length=32, precision="fp32"
)


@pytest.fixture
def task(tiny_task):
    return few_shot_task(tiny_task(rows=120, classes=3), shots=8, most_ways=3, test_rows=30, seed=0)


@pytest.fixture
def backbone(tiny_text_backbone):
    return tiny_text_backbone(seed=2)


def test_it_learns_what_a_few_rows_show(task, backbone):
    problem = FewShotProblem(task, backbone, RECIPE)
    quick = RECIPE.with_settings({"learning_rate": 0.02})
    found = problem.adapt(
        backbone, 24, quick, head="prototype", steps=60, looks=(0, 10, 60), look_rows=30
    )
    assert [step for step, _ in found.curve] == [0, 10, 60]
    assert found.curve[-1][1] == found.accuracy > 0.7
    assert found.curve[0][1] < found.accuracy
    assert found.cpu_seconds > 0


@pytest.mark.parametrize("head", ["prototype", "linear_probe"])
def test_a_head_may_know_the_classes_before_the_first_step(task, backbone, head):
    problem = FewShotProblem(task, backbone, RECIPE)
    blind = problem.adapt(backbone, 24, RECIPE, head="zero", steps=0)
    knowing = problem.adapt(backbone, 24, RECIPE, head=head, steps=0)
    assert knowing.accuracy > blind.accuracy + 0.2


@pytest.mark.parametrize("frozen_fraction", [0.0, 0.5])
def test_a_step_is_one_of_the_fine_tuning_loop(task, backbone, frozen_fraction):
    recipe = RECIPE.with_settings(
        {"frozen_fraction": frozen_fraction, "epochs": 2, "dropout": 0, "head_init": "linear_probe"}
    )
    quiet = copy.deepcopy(backbone)
    for module in quiet.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # The loop draws for a random head first, so masks would differ.
    loop = fine_tune(
        task.replaced(validation=task.test), quiet, recipe, device="cpu", test_every_epoch=True
    )
    adapted = FewShotProblem(task, quiet, recipe).adapt(
        quiet, 24, recipe, head="linear_probe", steps=8
    )
    assert adapted.accuracy == loop.outcome.curve[-1].test["accuracy"]


def test_only_the_first_rows_are_learned_from(task, backbone):
    few = task.replaced(train=task.train.take(np.arange(6)))
    found = [
        FewShotProblem(given, backbone, RECIPE).adapt(
            backbone, 6, RECIPE, head="prototype", steps=5, looks=(5,), look_rows=30
        )
        for given in (task, few)
    ]
    assert found[0].curve == found[1].curve


def test_the_start_stays_as_it_is_and_the_callers_draws_too(task, backbone):
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    state = torch.get_rng_state()
    problem = FewShotProblem(task, backbone, RECIPE)
    problem.adapt(backbone, 12, RECIPE, head="zero", steps=3)

    assert torch.equal(torch.get_rng_state(), state)
    after = backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_start_that_differs_where_it_is_frozen_is_refused(backbone):
    upper, lower = copy.deepcopy(backbone), copy.deepcopy(backbone)
    with torch.no_grad():
        upper.get_parameter("model.encoder.layer.1.output.dense.weight").add_(1.0)
        lower.get_parameter("model.encoder.layer.0.output.dense.weight").add_(1.0)

    check_frozen_alike(upper, backbone, RECIPE)
    check_frozen_alike(lower, backbone, RECIPE.with_settings({"frozen_fraction": 0.0}))
    with pytest.raises(RecipeError, match=r"the initialisation moved model\.encoder\.layer\.0"):
        check_frozen_alike(lower, backbone, RECIPE)
