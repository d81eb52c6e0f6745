"""Encoding labels, and refusing those no head can be trained on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from metaft.errors import TaskError
from metaft.tasks.labels import EncodedLabels, encode_labels, is_unlabelled, refuse_lone_examples


def _encode(*splits: list[object] | pa.Array, **options: object) -> EncodedLabels:
    columns = {
        name: pa.chunked_array([values if isinstance(values, pa.Array) else pa.array(values)])
        for name, values in zip(("train", "validation", "test"), splits, strict=False)
    }
    return encode_labels(columns, "data.csv", **options)  # type: ignore[arg-type]


def test_texts_become_classes_in_sorted_order_over_all_splits() -> None:
    labels = _encode(["pos", "neg", "pos"], ["neu"])
    assert labels.label_names == ("neg", "neu", "pos")
    assert labels.values["train"].tolist() == [2, 0, 2]
    assert labels.values["validation"].tolist() == [1]
    assert labels.values["train"].dtype == np.int64


def test_dictionary_and_truth_columns_are_texts() -> None:
    labels = _encode(pa.array(["b", "a", "b"]).dictionary_encode())
    assert labels.values["train"].tolist() == [1, 0, 1]
    assert _encode([True, False]).label_names == ("false", "true")


def test_whole_numbers_become_classes_without_gaps() -> None:
    labels = _encode([5, 1, 5, 3], [-2])
    assert labels.label_names == ("-2", "1", "3", "5")
    assert labels.values["train"].tolist() == [3, 1, 3, 2]
    assert not labels.is_regression


def test_known_class_names_leave_whole_numbers_as_they_are() -> None:
    labels = _encode([2, 0], class_names=("a", "b", "c"))
    assert labels.label_names == ("a", "b", "c")
    assert labels.values["train"].tolist() == [2, 0]


def test_known_class_names_give_texts_their_order() -> None:
    labels = _encode(["yes", "no"], class_names=("yes", "no", "maybe"))
    assert labels.values["train"].tolist() == [0, 1]
    assert _encode(["yes", "nope"], class_names=("yes", "no")).label_names == ("nope", "yes")


def test_decimal_numbers_are_a_regression() -> None:
    labels = _encode([0.5, 1.0], [2.0])
    assert labels.is_regression
    assert labels.label_names == ()
    assert labels.values["train"].dtype == np.float64
    assert _encode([0.5, 1.0], [2]).is_regression


def test_a_few_whole_numbers_written_as_decimals_are_classes() -> None:
    labels = _encode([0.0, 1.0, 1.0], [0])
    assert labels.label_names == ("0", "1")
    assert labels.values["train"].tolist() == [0, 1, 1]
    assert "whole numbers written as decimals" in labels.notices[0]
    assert _encode([0.0, 1.0], class_names=("no", "yes"), regression=False).label_names[1] == "yes"


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([0.0, 1.0, 1.0, 0.0, 0.5], {}),
        ([float(number) for number in range(21)] * 4, {}),  # Amounts, not classes.
        ([3.0, 4.0, 5.0, 6.0], {}),
        ([0.0, 1.0, 1.0, 0.0], {"regression": True}),
    ],
)
def test_other_decimals_are_a_regression(values: list[object], options: dict[str, object]) -> None:
    labels = _encode(values, **options)
    assert labels.is_regression
    assert not labels.notices


def test_a_regression_takes_whole_numbers_too() -> None:
    labels = _encode([1, 3], regression=True)
    assert labels.values["train"].tolist() == [1.0, 3.0]
    assert labels.is_regression


@pytest.mark.parametrize(
    ("splits", "options", "message"),
    [
        ([["a", None, "b", ""]], {}, r"missing in 2 of 4 rows of the train split .* row 2"),
        ([[0, 1], [None, 1]], {}, "missing in 1 of 2 rows of the validation split .* row 1"),
        ([[0.5, float("nan")]], {}, "missing in 1 of 2"),
        ([["  ", "a"]], {}, "missing in 1 of 2"),
        ([["a", "a"]], {}, "every row of 'data.csv' has the label 'a'"),
        ([[3, 3], [3]], {}, "has the label '3'"),
        ([[0.5, 0.5]], {}, "has the label '0.5'"),
        ([[0.5, float("inf")]], {}, "infinite label"),
        ([list(range(10_001))], {}, "10,001 classes; allowed are 2 to 10,000"),
        ([[str(number) for number in range(10_001)]], {}, "10,001 classes"),
        ([["a", "b"], [1]], {}, "different types: texts in train, whole numbers in validation"),
        ([[0, 3]], {"class_names": ("a", "b")}, "has the label 3; allowed are 0 to 1"),
        ([[0, -1]], {"class_names": ("a", "b")}, "has the label -1"),
        ([["a", "b"]], {"regression": True}, "card says they are numbers"),
        ([[0.5, 1.0]], {"regression": False}, "card says they are classes"),
        ([[[1], [2]]], {}, "are lists: several labels per row are not supported"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(
    splits: list[list[object]], options: dict[str, object], message: str
) -> None:
    with pytest.raises(TaskError, match=message):
        _encode(*splits, **options)


def test_ten_thousand_classes_are_allowed() -> None:
    assert len(_encode(list(range(10_000))).label_names) == 10_000


def test_a_class_with_a_single_example_is_refused() -> None:
    refuse_lone_examples(_encode(["a", "a", "b"], ["b"]), "data.csv")
    refuse_lone_examples(_encode([0.5, 1.5]), "data.csv")
    with pytest.raises(TaskError, match=r"the class 'b' .* has a single example; each"):
        refuse_lone_examples(_encode(["a", "a", "b"]), "data.csv")
    with pytest.raises(TaskError, match="and so have 2 more classes"):
        refuse_lone_examples(_encode(["a", "b", "c", "d", "d"]), "data.csv")


@pytest.mark.parametrize(
    ("columns", "unlabelled"),
    [
        ({"text": ["a"]}, True),
        ({"label": [-1, -1]}, True),
        ({"label": [None, None]}, True),
        ({"label": pa.array([], pa.int64())}, True),
        ({"label": [-1, 0]}, False),
        ({"label": [-1.0, -1.0]}, False),
        ({"label": ["a"]}, False),
    ],
)
def test_a_test_split_with_secret_labels(columns: dict[str, object], unlabelled: bool) -> None:
    assert is_unlabelled(pa.table(columns), "label") is unlabelled
