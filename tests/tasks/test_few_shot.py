"""Few-shot versions of a task: balanced, nested, seeded, with test rows of the same classes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from metaft.errors import TaskError
from metaft.tasks.few_shot import few_shot_task
from metaft.tasks.split import content_keys
from metaft.tasks.task import Split


def _cut(task, **changed):
    wanted = {"shots": 4, "most_ways": 3, "test_rows": 10, "seed": 0}
    return few_shot_task(task, **{**wanted, **changed})


def test_the_first_rows_are_the_version_of_fewer_shots(tiny_task):
    cut = _cut(tiny_task(rows=60, classes=3))
    for shots in (1, 2, 4):
        assert Counter(cut.train.labels[: 3 * shots].tolist()) == dict.fromkeys(range(3), shots)
    assert len(cut.train) == 12
    assert len(cut.validation) == 0


def test_rows_and_names_follow_the_classes_that_were_drawn(tiny_task):
    task = tiny_task(rows=100, classes=5)
    names = set()
    for seed in range(4):
        cut = _cut(task, seed=seed)
        names.add(cut.label_names)
        for split, whole in ((cut.train, task.train), (cut.test, task.test)):
            label_of = dict(zip(content_keys(whole), whole.labels.tolist(), strict=True))
            original = [task.label_names[label_of[key]] for key in content_keys(split)]
            assert [cut.label_names[label] for label in split.labels] == original
    assert len(names) > 1


def test_the_seed_decides_the_rows(tiny_task):
    task = tiny_task(rows=60, classes=3)
    assert _cut(task, seed=1).fingerprint == _cut(task, seed=1).fingerprint
    assert _cut(task, seed=1).fingerprint != _cut(task, seed=2).fingerprint


def test_classes_without_enough_rows_or_without_test_rows_are_left_out(tiny_task):
    labels = [0] * 10 + [1] * 10 + [2] * 3 + [3] * 10
    task = tiny_task(classes=4).replaced(
        train=Split(labels=np.array(labels), texts=tuple(f"row {at}" for at in range(33))),
        test=Split(labels=np.array([0, 1, 2]), texts=("a", "b", "c")),
    )
    assert set(_cut(task).label_names) == set(task.label_names[:2])
    with pytest.raises(TaskError, match="fewer than 2 classes of 11 different"):
        _cut(task, shots=11)


def test_repeated_rows_count_once(tiny_task):
    task = tiny_task(rows=6, classes=2)
    task = task.replaced(train=task.train.take(list(range(6)) * 3))
    with pytest.raises(TaskError, match="fewer than 2 classes"):
        _cut(task)
