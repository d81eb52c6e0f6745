"""What a run counts: its test score, or that of a guess where it failed, and its seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metaft.tasks.split import subsample
from metaft.tasks.task import Task
from metaft.traces.trace import TEST_ROWS, VALIDATION_ROWS, Trace


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Rows of each split that a recorded run uses."""

    train: int
    validation: int
    test: int


def count_rows(task: Task, train_rows: int) -> RowCounts:
    """Return how many rows a recorded run with `train_rows` training rows uses."""
    return RowCounts(
        min(len(task.train), train_rows),
        min(len(task.validation), VALIDATION_ROWS),
        min(len(task.test), TEST_ROWS),
    )


def guess_score(task: Task) -> float:
    """Return the test score of always answering the most frequent training class (or tag).

    For a regression it is 0, the correlation of a constant; to questions there is no answer.
    """
    from metaft.finetuning.answer_scores import score_answers
    from metaft.finetuning.entities import score_tags
    from metaft.finetuning.metrics import score_classes

    test = subsample(task, train_rows=None, test_rows=TEST_ROWS).test
    if test.answers is not None:
        right = [[answer.text for answer in answers] for answers in test.answers]
        return score_answers([""] * len(test), right)[task.metric]
    classes = task.training_classes
    if classes is None:
        return 0.0
    commonest = int(np.bincount(classes).argmax())
    if test.tags is not None:
        guesses = [np.full_like(tags, commonest) for tags in test.tags]
        return score_tags(guesses, test.tags, task.label_names)[task.metric]
    logits = np.zeros((len(test), task.num_outputs))
    logits[:, commonest] = 1.0
    return score_classes(logits, test.labels)[task.metric]


def score_of(trace: Trace, guess: float) -> float:
    """Return the test score after the epoch that validation chose.

    A run that diverged, ran out of memory or failed counts as a guess, whatever it had
    reached before: nobody can rely on a recipe that breaks.
    """
    return trace.test[trace.metric] if trace.status == "ok" else guess


def halves_of(trace: Trace, guess: float) -> tuple[float, float]:
    """Return the same score on the two fixed halves of the test rows, where they have halves."""
    whole = score_of(trace, guess)
    if trace.status != "ok" or not trace.curve[trace.best_epoch - 1].test_halves:
        return whole, whole
    first, second = trace.curve[trace.best_epoch - 1].test_halves
    return first, second


def seconds_of(trace: Trace, rows: RowCounts) -> float:
    """Return the wall seconds that the run takes a user by itself; NaN where it failed."""
    return cumulative_seconds(trace, rows)[-1] if trace.status == "ok" else math.nan


def spent_seconds(trace: Trace, rows: RowCounts) -> float:
    """Return the wall seconds that a run took which was given up; 0 where nobody knows.

    A run that broke off has cost what it took until then, its test rows included.
    """
    seconds = seconds_of(trace, rows) if trace.status == "ok" else trace.costs.wall_seconds
    return seconds if math.isfinite(seconds) else 0.0


def cumulative_seconds(trace: Trace, rows: RowCounts) -> list[float]:
    """Return the wall seconds from the beginning of a run to the end of every epoch.

    They hold encoding, the frozen prefix, training and scoring the validation rows. A
    recorded run handles the test rows, too, after every epoch; their time is taken out by
    their share of the rows.
    """
    kept_of_prefix = 1 - rows.test / (rows.train + rows.validation + rows.test)
    kept_of_scoring = 1 - rows.test / (rows.validation + rows.test)
    training = np.array([epoch.train_seconds for epoch in trace.curve])
    scoring = np.array([epoch.evaluation_seconds for epoch in trace.curve])
    set_up = max(0.0, trace.costs.wall_seconds - training.sum() - scoring.sum())
    before = kept_of_prefix * (trace.prefix_seconds or 0.0) + set_up
    return [float(value) for value in before + np.cumsum(training + kept_of_scoring * scoring)]
