from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from metaft.comparing.scoring import (
    RowCounts,
    count_rows,
    cumulative_seconds,
    guess_score,
    halves_of,
    score_of,
    seconds_of,
)

if TYPE_CHECKING:
    from tests.comparing.conftest import Comparison
    from tests.conftest import TaskFactory

    from metaft.traces.trace import Trace


@pytest.fixture
def trace(comparison: Comparison) -> Trace:
    """Return a run of 10 s: 2 x 4 s of steps, 2 x 1 s of scoring; .8 on test."""
    _, traces = comparison({"mail": {"plain": [0.8]}})
    return traces["mail/plain/0"]


def test_rows_are_those_that_the_recorder_uses(tiny_task: TaskFactory) -> None:
    assert count_rows(tiny_task(rows=48), 32) == RowCounts(32, 24, 24)
    assert count_rows(tiny_task(rows=48), 512) == RowCounts(48, 24, 24)
    assert count_rows(tiny_task(rows=3000), 512) == RowCounts(512, 400, 1000)


def test_guess_is_the_most_frequent_training_class(tiny_task: TaskFactory) -> None:
    task = tiny_task(rows=40, classes=2)
    skewed = dataclasses.replace(
        task,
        train=dataclasses.replace(task.train, labels=np.array([1] * 30 + [0] * 10)),
        test=dataclasses.replace(task.test, labels=np.array([1] * 5 + [0] * 15)),
    )
    assert guess_score(skewed) == 0.25
    # F1 of the class that is always answered is .4, that of the other one 0.
    assert guess_score(dataclasses.replace(skewed, metric="macro_f1")) == pytest.approx(0.2)


def test_guess_of_a_regression_has_no_correlation(tiny_task: TaskFactory) -> None:
    assert guess_score(tiny_task(kind="regression")) == 0.0


def test_run_with_a_single_test_row_has_the_same_score_twice(trace: Trace) -> None:
    curve = tuple(dataclasses.replace(record, test_halves=()) for record in trace.curve)
    assert halves_of(trace, guess=0.5) == (0.8, 0.8)
    assert halves_of(dataclasses.replace(trace, curve=curve), guess=0.5) == (0.8, 0.8)


def test_run_that_ended_well_counts_its_test_score(trace: Trace) -> None:
    assert score_of(trace, guess=0.5) == 0.8


@pytest.mark.parametrize("status", ["diverged", "out_of_memory", "failed"])
def test_failed_run_counts_as_a_guess_and_has_no_seconds(trace: Trace, status) -> None:
    broken = dataclasses.replace(trace, status=status)
    assert score_of(broken, guess=0.5) == 0.5
    assert math.isnan(seconds_of(broken, RowCounts(64, 40, 60)))


def test_failed_run_without_an_epoch_counts_as_a_guess(trace: Trace) -> None:
    broken = dataclasses.replace(trace, status="out_of_memory", curve=(), test={}, best_epoch=0)
    assert score_of(broken, guess=0.5) == 0.5
    assert math.isnan(seconds_of(broken, RowCounts(64, 40, 60)))


def test_seconds_leave_out_the_test_rows(trace: Trace) -> None:
    # 40 of 100 scored rows are validation rows: 0.4 s of each second of scoring count. What
    # is no epoch of the 10 s would be set-up; here it is nothing.
    assert cumulative_seconds(trace, RowCounts(64, 40, 60)) == pytest.approx([4.4, 8.8])
    assert seconds_of(trace, RowCounts(64, 40, 60)) == pytest.approx(8.8)


def test_seconds_hold_the_prefix_and_the_set_up(trace: Trace) -> None:
    longer = dataclasses.replace(
        trace,
        prefix_seconds=2.0,
        costs=dataclasses.replace(trace.costs, wall_seconds=11.5),
    )
    # 1.5 s of set-up; of the 2 s of the prefix, those of 140 of the 200 rows.
    rows = RowCounts(train=100, validation=40, test=60)
    assert cumulative_seconds(longer, rows) == pytest.approx([1.4 + 1.5 + 4.4, 1.4 + 1.5 + 8.8])


def test_guess_of_tags_and_of_answers(tiny_task: TaskFactory) -> None:
    task = tiny_task(kind="ner")
    assert guess_score(task) == 0.0  # all words outside: no entity is found
    speech = dataclasses.replace(task, label_names=("NN", "VB", "IN"))
    words = [tag for tags in task.test.tags or () for tag in tags.tolist()]
    assert guess_score(speech) == pytest.approx(words.count(0) / len(words))
    asked = tiny_task(rows=16, kind="qa")
    assert guess_score(asked) == 0.0
    answers = (*((),) * 2, *(asked.test.answers or ())[2:])
    half = asked.replaced(test=dataclasses.replace(asked.test, answers=answers))
    assert guess_score(half) == pytest.approx(2 / 8)
