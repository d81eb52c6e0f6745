"""A few-shot version of a task: so many rows of each of a few classes, and test rows of these."""

from __future__ import annotations

import dataclasses

import numpy as np

from metaft.errors import TaskError
from metaft.tasks.split import distinct_rows_of_classes
from metaft.tasks.task import Split, Task


def few_shot_task(task: Task, *, shots: int, most_ways: int, test_rows: int, seed: int) -> Task:
    """Cut a task down to a few rows of a few classes.

    The training rows are ordered class by class within each shot, so that the first `k * ways`
    of them are the task's version of `k` shots. There is no validation split: few shots leave
    nothing to choose by.

    Args:
        task: A classification.
        shots: Training rows of each class, all different, >= 1.
        most_ways: Classes that are kept at most, >= 2; a task with more gives some of them.
        test_rows: Most test rows, >= 1, drawn as they come.
        seed: Draws classes, training and test rows.

    Raises:
        TaskError: If fewer than two classes have so many rows and a row to test on.
    """
    rng = np.random.default_rng(seed)
    rows_of = _rows_of_classes(task, shots)
    if len(rows_of) < 2:
        raise TaskError(
            f"{task.name!r} has fewer than 2 classes of {shots} different training rows",
            "Ask for fewer shots, or choose another task",
        )
    classes = rng.permutation(sorted(rows_of))[:most_ways]
    drawn = np.stack([rng.choice(rows_of[number], shots, replace=False) for number in classes])
    tested = np.flatnonzero(np.isin(task.test.labels, classes))
    tested = rng.permutation(tested)[:test_rows]
    return dataclasses.replace(
        task,
        train=_renumbered(task.train, drawn.T.reshape(-1), classes),
        validation=task.validation.take([]),
        test=_renumbered(task.test, tested, classes),
        label_names=tuple(task.label_names[number] for number in classes),
    )


def _rows_of_classes(task: Task, shots: int) -> dict[int, np.ndarray]:
    """Return the different training rows of each class that has enough, and test rows, too."""
    found, tested = distinct_rows_of_classes(task), set(task.test.labels.tolist())
    return {
        number: own for number, own in enumerate(found) if len(own) >= shots and number in tested
    }


def _renumbered(split: Split, rows: np.ndarray, classes: np.ndarray) -> Split:
    """Take rows of some classes, and number these from 0 in their order."""
    number_of = {int(label): number for number, label in enumerate(classes)}
    labels = np.array([number_of[int(label)] for label in split.labels[rows]], dtype=np.int64)
    return dataclasses.replace(split.take(rows), labels=labels)
