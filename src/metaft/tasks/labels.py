"""Encoding labels: class numbers with their names, or the targets of a regression."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metaft.errors import TaskError
from metaft.tasks.columns import refuse_missing
from metaft.tasks.raw import RawDataset

MAX_CLASSES = 10_000
_MOST_DECIMAL_CLASSES = 20
_WRITTEN_AS_DECIMALS = (
    "the labels are whole numbers written as decimals (1.0): they are taken for classes; a "
    "regression needs some that are not whole, so divide them by 10 for one"
)
_Form = Literal["texts", "whole numbers", "decimal numbers"]


@dataclass(frozen=True, eq=False)
class EncodedLabels:
    """The labels of every split.

    Attributes:
        values: Split -> `(rows,)` int64 class numbers, or float64 targets.
        label_names: Class number -> name; empty for a regression.
        notices: What the user should know of how they were read.
    """

    values: Mapping[str, np.ndarray]
    label_names: tuple[str, ...]
    notices: tuple[str, ...] = ()

    @property
    def is_regression(self) -> bool:
        """Whether the labels are numbers rather than classes."""
        return not self.label_names


def encode_labels(
    columns: Mapping[str, pa.ChunkedArray],
    name: str,
    *,
    class_names: tuple[str, ...] = (),
    regression: bool | None = None,
) -> EncodedLabels:
    """Turn the label column of every split into class numbers or targets.

    Texts become classes in sorted order, whole numbers become classes in ascending order
    without gaps, decimal numbers are the targets of a regression: but for a few whole ones
    (0.0 and 1.0), which is how whole numbers are written once a label was missing. Where class
    names are known, whole numbers are taken as they are.

    Args:
        columns: Split -> label column.
        name: The dataset's name, for messages.
        class_names: Class number -> name, where they are known.
        regression: Whether the labels are targets; None to see by their type.

    Raises:
        TaskError: If a label is missing, out of range or of another type than the rest, or
            there are fewer than 2 or more than 10,000 classes.
    """
    for split, column in columns.items():
        _refuse_missing(column, split, name)
    forms = {split: _form_of(column, split, name) for split, column in columns.items()}
    form = _common_form(forms, name)
    whole = form == "decimal numbers" and _are_whole(columns)
    if regression is None:
        regression = form == "decimal numbers" and not (whole and _are_few(columns))
    if regression:
        return _encode_targets(columns, form, name)
    if form == "texts":
        return _encode_texts(columns, name, class_names)
    if form == "decimal numbers" and not whole:
        raise TaskError(
            f"the labels of {name!r} are decimal numbers, but its card says they are classes",
            "Write the classes as whole numbers",
        )
    encoded = _encode_numbers(columns, name, class_names)
    return dataclasses.replace(encoded, notices=(_WRITTEN_AS_DECIMALS,)) if whole else encoded


def is_unlabelled(table: pa.Table, label: str) -> bool:
    """Say whether a split has no label at all: the column is missing, empty, or all -1.

    That is how test splits come whose labels are kept secret.
    """
    if label not in table.column_names or table[label].null_count == table.num_rows:
        return True
    column = table[label]
    return bool(pa.types.is_integer(column.type) and pc.max(column).as_py() == -1)


def labelled_tables(
    raw: RawDataset, inputs: Sequence[str], label: str, labels: str
) -> tuple[dict[str, pa.Table], list[str]]:
    """Leave out splits without any label.

    Args:
        raw: Its training split has all the columns.
        inputs: Columns that every split needs.
        label: The column of the labels.
        labels: What to call them in a notice.

    Returns:
        Split -> rows, and what was left out.

    Raises:
        TaskError: If a split lacks a column of the inputs.
    """
    tables, notices = {}, []
    for split, table in raw.tables.items():
        refuse_missing(raw, split, inputs)
        if split != "train" and is_unlabelled(table, label):
            notices.append(f"the {split} split has no {labels} and is left out")
        else:
            tables[split] = table
    return tables, notices


def refuse_lone_examples(encoded: EncodedLabels, name: str) -> None:
    """Refuse a class with a single example: it could be learned or tested, but not both.

    Raises:
        TaskError: If a class has one row in all splits together.
    """
    if encoded.is_regression:
        return
    every = np.concatenate(list(encoded.values.values()))
    counts = np.bincount(every, minlength=len(encoded.label_names))
    lone = [encoded.label_names[number] for number in np.flatnonzero(counts == 1)]
    if lone:
        raise TaskError(
            f"the class {lone[0]!r} of {name!r} has a single example"
            + (f", and so have {len(lone) - 1} more classes" if len(lone) > 1 else "")
            + "; each class needs at least 2",
            "Add examples, or leave the class out (is this the right --label-column?)",
        )


def _refuse_missing(column: pa.ChunkedArray, split: str, name: str) -> None:
    missing = pc.is_null(column, nan_is_null=True)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        missing = pc.or_(missing, pc.equal(pc.utf8_trim_whitespace(column.fill_null("")), ""))
    rows = np.flatnonzero(missing.to_numpy())
    if len(rows):
        raise TaskError(
            f"the label is missing in {len(rows)} of {len(column)} rows of the {split} split of "
            f"{name!r}, first in row {rows[0] + 1} (the first row is 1)",
            "Fill the labels in, or remove these rows",
        )


def _form_of(column: pa.ChunkedArray, split: str, name: str) -> _Form:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
        return "texts"
    if pa.types.is_integer(kind):
        return "whole numbers"
    if pa.types.is_floating(kind):
        return "decimal numbers"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        raise TaskError(
            f"the labels in the {split} split of {name!r} are lists: several labels per row are "
            "not supported, one is",
            "Keep one label per row; for a tag per word, name the column of words tokens",
        )
    raise TaskError(
        f"the labels in the {split} split of {name!r} are of type {kind}; "
        "allowed are texts, whole numbers (classes) and decimal numbers (a regression)",
        "Name another column with --label-column",
    )


def _common_form(forms: Mapping[str, _Form], name: str) -> _Form:
    found = set(forms.values())
    if found == {"whole numbers", "decimal numbers"}:
        return "decimal numbers"
    if len(found) > 1:
        described = ", ".join(f"{form} in {split}" for split, form in forms.items())
        raise TaskError(
            f"the labels of {name!r} are of different types: {described}",
            "Write the labels of all splits in one way",
        )
    return found.pop()


def _are_whole(columns: Mapping[str, pa.ChunkedArray]) -> bool:
    every = np.concatenate([_numpy(column) for column in columns.values()])
    return bool(np.isfinite(every).all() and (np.trunc(every) == every).all())


def _are_few(columns: Mapping[str, pa.ChunkedArray]) -> bool:
    every = np.concatenate([_numpy(column) for column in columns.values()])
    return len(np.unique(every)) <= min(_MOST_DECIMAL_CLASSES, len(every) / 2)


def _encode_targets(
    columns: Mapping[str, pa.ChunkedArray], form: _Form, name: str
) -> EncodedLabels:
    if form == "texts":
        raise TaskError(
            f"the labels of {name!r} are texts, but its card says they are numbers",
            "Write the labels as numbers",
        )
    values = {split: _numpy(column).astype(np.float64) for split, column in columns.items()}
    every = np.concatenate(list(values.values()))
    if not np.isfinite(every).all():
        raise TaskError(f"{name!r} has an infinite label", "Remove its row")
    if (every == every[0]).all():
        raise _one_class(name, str(every[0]))
    return EncodedLabels(values, ())


def _encode_texts(
    columns: Mapping[str, pa.ChunkedArray], name: str, class_names: tuple[str, ...]
) -> EncodedLabels:
    texts = {split: column.cast(pa.string()) for split, column in columns.items()}
    found = sorted({label for column in texts.values() for label in column.unique().to_pylist()})
    names = class_names if set(found) <= set(class_names) else tuple(found)
    _check_class_count(len(names), name, names[0])
    index = pa.array(names, type=pa.string())
    return EncodedLabels(
        {
            split: _numpy(pc.index_in(column, index)).astype(np.int64)
            for split, column in texts.items()
        },
        names,
    )


def _encode_numbers(
    columns: Mapping[str, pa.ChunkedArray], name: str, class_names: tuple[str, ...]
) -> EncodedLabels:
    values = {split: _numpy(column).astype(np.int64) for split, column in columns.items()}
    found = np.unique(np.concatenate(list(values.values())))
    if class_names:
        _check_class_count(len(class_names), name, class_names[0])
        if found[0] < 0 or found[-1] >= len(class_names):
            wrong = found[0] if found[0] < 0 else found[-1]
            raise TaskError(
                f"{name!r} has the label {wrong}; allowed are 0 to {len(class_names) - 1}, "
                f"for its {len(class_names)} class names",
                "Correct the label or the class names",
            )
        return EncodedLabels(values, class_names)
    _check_class_count(len(found), name, str(found[0]))
    return EncodedLabels(
        {split: np.searchsorted(found, numbers) for split, numbers in values.items()},
        tuple(str(number) for number in found),
    )


def _check_class_count(count: int, name: str, only_class: str) -> None:
    if count < 2:
        raise _one_class(name, only_class)
    if count > MAX_CLASSES:
        raise TaskError(
            f"{name!r} has {count:,} classes; allowed are 2 to {MAX_CLASSES:,}",
            "Name another column with --label-column, write the labels as decimal numbers for a "
            "regression, or merge classes",
        )


def _one_class(name: str, only: str) -> TaskError:
    return TaskError(
        f"every row of {name!r} has the label {only!r}; at least 2 classes are needed",
        "Add rows of another class, or name another column with --label-column",
    )


def _numpy(column: pa.ChunkedArray) -> np.ndarray:
    values: np.ndarray = column.to_numpy()
    return values
