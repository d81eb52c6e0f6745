from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from metaft.backbones.backbone import Examples
from metaft.finetuning.answering import (
    Candidate,
    answer_from,
    best_answers,
    ends_of,
    in_context,
    may_refuse,
)
from metaft.finetuning.loop import fine_tune
from metaft.recipes import Recipe
from metaft.tasks.task import Answer, Split

RECIPE = Recipe(learning_rate=1e-2, epochs=8, batch_size=8, precision="fp32", max_length=40)
CONTEXT = "the old river was near a kitchen"
#         token:  0 special, 1 question, 2 special, 3 ... the words of the context
PLACES = np.array([[-1, -1], [-1, -1], [-1, -1], [0, 3], [4, 7], [8, 13], [14, 17], [-1, -1]])


@pytest.fixture
def window() -> Examples:
    return Examples(columns={}, lengths=np.array([8]), places=[PLACES], owners=np.array([0]))


def test_answers_are_learned(tiny_task, tiny_text_backbone) -> None:
    outcome = fine_tune(tiny_task(rows=64, kind="qa"), tiny_text_backbone(), RECIPE).outcome
    assert outcome.status == "ok"
    assert outcome.test["exact_match"] > 0.9
    assert outcome.test["f1"] >= outcome.test["exact_match"]


def test_long_contexts_are_read_in_windows(tiny_task, tiny_text_backbone) -> None:
    recipe = dataclasses.replace(RECIPE, max_length=14)
    task, backbone = tiny_task(rows=64, kind="qa"), tiny_text_backbone()
    examples = backbone.encode(task.train, max_length=14, image_size=0)
    assert len(examples) > len(task.train)
    assert np.array_equal(np.unique(examples.owners), np.arange(64))
    assert fine_tune(task, backbone, recipe).outcome.test["exact_match"] > 0.7


def test_a_probe_of_frozen_features_already_answers(tiny_task, tiny_text_backbone) -> None:
    recipe = RECIPE.with_settings(
        {"head_init": "linear_probe", "frozen_fraction": 1.0, "epochs": 1, "learning_rate": 1e-8}
    )
    task = tiny_task(rows=64, kind="qa")
    random = dataclasses.replace(recipe, head_init="random")
    found, by_chance = (
        fine_tune(task, tiny_text_backbone(), each).outcome.test["exact_match"]
        for each in (recipe, random)
    )
    assert found > 0.5
    assert by_chance < 0.2


@pytest.mark.parametrize(
    ("answers", "ends"),
    [
        ([Answer("river", 8)], [5, 5]),
        ([Answer("old river", 4)], [4, 5]),
        ([Answer("ive", 9)], [5, 5]),  # within a token
        ([Answer("river", 8), Answer("the", 0)], [5, 5]),  # the first one is learned
        ([Answer("was near", 14)], [0, 0]),  # not wholly in the window
        ([], [0, 0]),
    ],
)
def test_ends_of_answers(window: Examples, answers: list[Answer], ends: list[int]) -> None:
    split = Split(labels=np.ones(1), answers=(tuple(answers),))
    assert ends_of(window, split, np.array([0])).tolist() == [ends]


def test_only_the_context_can_hold_an_answer(window: Examples) -> None:
    logits = torch.zeros(1, 9, 2)  # one token of padding
    logits[0, [1, 8]] = 100.0
    scores = in_context(logits, window, np.array([0]))
    assert [at for at in range(9) if scores[0, at, 0] > -1.0] == [0, 3, 4, 5, 6]


def test_the_end_is_not_before_the_start_nor_far_behind(window: Examples) -> None:
    logits = torch.zeros(1, 8, 2)
    logits[0, 5, 0], logits[0, 4, 1], logits[0, 3, 0] = 3.0, 3.0, 2.0
    scores = in_context(logits, window, np.array([0]))
    (best,) = best_answers(scores, window, np.array([0]), [0.0])
    assert CONTEXT[best.start : best.end] == "the old"  # 2 + 3, where 5 to 4 would be 3 + 3
    long = Examples(
        columns={}, lengths=np.array([60]), places=[np.stack([np.arange(60), np.arange(60) + 1], 1)]
    )
    far = torch.zeros(1, 60, 2)
    far[0, 5, 0], far[0, 50, 1] = 5.0, 5.0
    (found,) = best_answers(far, long, np.array([0]), [0.0])
    assert found.end - found.start <= 30


def test_the_best_window_answers_and_none_may_be_the_answer() -> None:
    windows = [Candidate(0, 1.0, 0, 3, 2.0, 0.0), Candidate(0, 4.0, 8, 13, 5.0, 0.0)]
    assert answer_from(windows, CONTEXT, may_refuse=False) == "river"
    assert answer_from(windows, CONTEXT, may_refuse=True) == "river"  # one window is sure enough
    unsure = [dataclasses.replace(window, none_score=9.0) for window in windows]
    assert answer_from(unsure, CONTEXT, may_refuse=True) == ""


def test_a_model_refuses_only_if_it_saw_questions_without_an_answer(tiny_task) -> None:
    task = tiny_task(rows=8, kind="qa")
    assert not may_refuse(task)
    train = dataclasses.replace(task.train, answers=((), *task.train.answers[1:]))
    assert may_refuse(task.replaced(train=train))
    assert not may_refuse(tiny_task(kind="classification"))
