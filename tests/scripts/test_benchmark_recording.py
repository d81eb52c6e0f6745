"""The comparison with Trainer is fair, and the benchmark runs to its table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip("accelerate", reason="transformers.Trainer needs accelerate")

import benchmark_recording
import matrix_products
import measuring
from matrix_products import padded_lengths, training_flops
from trainer_rival import TrainerRival

from metaft.finetuning.loop import fine_tune
from metaft.finetuning.model import Classifier
from metaft.recipes import Recipe

if TYPE_CHECKING:
    from tests.conftest import TaskFactory, TextBackboneFactory

    from metaft.backbones.text import TextBackbone
    from metaft.tasks.task import Task

_RECIPE = Recipe(
    learning_rate=3e-3, epochs=2, warmup_fraction=0.0, dropout=0.0, precision="fp32", max_length=32
)


@pytest.fixture(scope="module")
def task(tiny_task: TaskFactory) -> Task:
    return tiny_task(rows=40)


@pytest.fixture(scope="module")
def backbone(tiny_text_backbone: TextBackboneFactory) -> TextBackbone:
    """Return a backbone without dropout: two loops on it can agree to rounding."""
    backbone = tiny_text_backbone()
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return backbone


@pytest.mark.parametrize("frozen_fraction", [0.0, 0.5, 1.0])
def test_trainer_on_the_same_batches_does_what_metaft_does(
    task: Task, backbone: TextBackbone, frozen_fraction: float
) -> None:
    recipe = dataclasses.replace(_RECIPE, frozen_fraction=frozen_fraction)
    ours = fine_tune(task, backbone, recipe, device="cpu").outcome
    theirs = TrainerRival(task, backbone, recipe.max_length).run(recipe, "same")
    assert theirs.steps == 2 * 3
    assert theirs.train_loss == pytest.approx(
        np.mean([record.train_loss for record in ours.curve]), rel=1e-4
    )
    assert theirs.validation_accuracy == ours.curve[-1].validation["accuracy"]


def test_trainer_on_its_own_batches_takes_as_many_steps_to_a_like_loss(
    task: Task, backbone: TextBackbone
) -> None:
    rival = TrainerRival(task, backbone, _RECIPE.max_length)
    same = rival.run(_RECIPE, "same")
    for answer in (rival.run(_RECIPE), rival.run_as_it_comes(_RECIPE)):
        assert answer.steps == same.steps
        assert answer.train_loss == pytest.approx(same.train_loss, rel=0.25)


def test_operations_are_those_of_a_whole_batch(task: Task, backbone: TextBackbone) -> None:
    model = Classifier(backbone, 2, 0.0)
    examples = backbone.encode(task.train, max_length=32, image_size=0)
    rows = np.arange(5)
    batch = backbone.collate(examples, rows)
    with FlopCounterMode(display=False) as counter:
        model(batch).sum().backward()
    flops = training_flops(model, list(examples.columns))
    counted = flops(padded_lengths(backbone, examples, rows))
    assert counted == pytest.approx(counter.get_total_flops(), rel=1e-6)
    assert flops(examples.lengths[rows]) < counted


def test_trainer_runs_once_what_is_the_same_work_to_it(
    task: Task, backbone: TextBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[float, int, int]] = []

    class Rival:
        def run(self, recipe: Recipe) -> None:
            ran.append((recipe.frozen_fraction, recipe.batch_size, recipe.epochs))

    def cost_of(action: Callable[[], object]) -> measuring.Cost:
        before = len(ran)
        action()
        seconds = 1.0 + ran[-1][2] if len(ran) > before else 1.0
        return measuring.Cost(seconds, seconds)

    monkeypatch.setattr(benchmark_recording, "_fine_tune", lambda *_, **__: None)
    monkeypatch.setattr(measuring, "cost_of", cost_of)
    setting = benchmark_recording.Setting(
        backbone, task, task, 1, 1, 1, "fp32", on_turn=lambda *_: None
    )
    recipes = [
        Recipe(epochs=6),
        Recipe(epochs=6, learning_rate=1e-3),
        Recipe(epochs=6, batch_size=8),
        Recipe(epochs=6, frozen_fraction=0.5),
    ]
    rival: Any = Rival()
    sums = benchmark_recording._design_round(setting, rival, recipes, 1)
    assert ran == [
        (0.0, 16, 1), (0.0, 16, 3), (0.0, 8, 1), (0.0, 8, 3), (0.5, 16, 1), (0.5, 16, 3)
    ]  # fmt: skip
    # A budget of e epochs takes 1 + e seconds here; every recipe is answered at six of them.
    assert sums["Trainer"].wall_seconds == pytest.approx(4 * (2 + 3 + 4 + 5 + 6 + 7))
    assert sums["metaft"].wall_seconds == 4.0


@pytest.mark.parametrize("format_", ["table", "json"])
def test_the_benchmark_runs_to_its_table(
    format_: str,
    task: Task,
    backbone: TextBackbone,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(benchmark_recording, "load_backbone", lambda *_, **__: backbone)
    monkeypatch.setattr(benchmark_recording, "load_task", lambda *_, **__: task)
    monkeypatch.setattr(benchmark_recording, "DESIGN_RECIPES", 2)
    monkeypatch.setattr(benchmark_recording, "DESIGN_EPOCHS", 3)
    monkeypatch.setattr(benchmark_recording, "RUN_BUDGETS", (1, 2))
    monkeypatch.setitem(matrix_products._SIDE, "cpu", 64)
    threads = torch.get_num_threads()
    benchmark_recording.main(
        ["--rows", "32", "--rounds", "1", "--epochs", "1", "--precision", "fp32"]
        + ["--threads", str(threads), "--format", format_]
        + (["--only", "head"] if format_ == "table" else [])
    )
    shown = capsys.readouterr().out
    if format_ == "table":
        assert "head alone, 5 epochs" in shown
        assert "cpu_model" in shown
        return
    figures = {figure["what"]: figure for figure in json.loads(shown)["figures"]}
    assert {what.partition(":")[0] for what in figures} == {
        *benchmark_recording.SECTIONS, "machine", "check"
    }  # fmt: skip
    assert all(figure["wall"]["median"] > 0 for figure in figures.values())
    assert figures["design: per answer, 6 of them"]["goal"] == 6.0
