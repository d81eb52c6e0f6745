"""Recognising columns: which one holds the text, the second text, the image, the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from metaft.errors import TaskError
from metaft.tasks.raw import RawDataset

# Lower-case names; of a pair, both must be there.
_PAIR_NAMES: tuple[tuple[str, str], ...] = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "answer"),
    ("query", "document"),
    ("query", "passage"),
    ("text1", "text2"),
    ("text_1", "text_2"),
    ("text_a", "text_b"),
)
_TEXT_NAMES = (
    *("text", "texts", "sentence", "sentences", "review", "reviews", "content", "comment"),
    *("comments", "tweet", "message", "sms", "document", "body", "utterance", "query"),
    *("question", "headline", "title", "abstract", "description", "passage", "paragraph"),
    *("article", "post", "string"),
)
_LABEL_NAMES = (
    *("label", "labels", "class", "target", "category", "topic", "sentiment", "intent"),
    *("emotion", "score", "rating", "stars", "y"),
)
_IMAGE_NAMES = ("image", "images", "img", "picture", "photo")
# Texts that describe a row but are not what is to be classified.
_ASIDE_NAMES = (
    *("id", "idx", "index", "guid", "uuid", "split", "url", "path", "file", "filename"),
    *("label_text", "label_name", "label_names"),
)
_INPUT_ROLES = ("text", "text_pair", "image")


@dataclass(frozen=True)
class ColumnNames:
    """Columns that the user named; None where they are to be recognised."""

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None


RECOGNISED = ColumnNames()
"""No column named: all are recognised."""


@dataclass(frozen=True)
class Roles:
    """Which column plays which part; either `text` or `image` is set."""

    label: str
    text: str | None = None
    text_pair: str | None = None
    image: str | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that a prediction is made from."""
        return tuple(name for name in (self.text, self.text_pair, self.image) if name is not None)


def recognise_columns(raw: RawDataset, named: ColumnNames = RECOGNISED) -> Roles:
    """Find the columns of a dataset.

    What the user named comes first, then what the card says, then the usual names (`text`,
    `sentence`, `premise` and `hypothesis`, `label`, `class` ...), then the only column that
    holds texts.

    Args:
        raw: The dataset; the columns of its training split count.
        named: The columns the user named.

    Raises:
        TaskError: If a named column is missing, or there is no text or label column, or more
            than one candidate.
    """
    table = raw.tables["train"]
    _check_names(raw, table, named)
    label = named.label or raw.columns.get("label") or _find_label(raw, table)
    roles = _find_inputs(raw, table, named, label)
    refuse_shared(raw, (*roles.inputs, roles.label))
    for split in raw.tables:
        # A test split without labels is left out later, not refused.
        needed = (*roles.inputs, roles.label) if split == "train" else roles.inputs
        refuse_missing(raw, split, needed)
    return roles


def refuse_missing(raw: RawDataset, split: str, needed: Sequence[str]) -> None:
    """Refuse a split that lacks a column.

    Raises:
        TaskError: Naming the first one.
    """
    names = raw.tables[split].column_names
    missing = [name for name in needed if name not in names]
    if missing:
        raise TaskError(
            f"the {split} split of {raw.name!r} lacks the column {missing[0]!r}; "
            f"its columns are {_listed(names)}",
            "Give every split the same columns",
        )


def refuse_shared(raw: RawDataset, names: Sequence[str]) -> None:
    """Refuse a column that plays two parts.

    Raises:
        TaskError: Naming it.
    """
    shared = [name for name in names if names.count(name) > 1]
    if shared:
        raise TaskError(
            f"the column {shared[0]!r} of {raw.name!r} would be two of text, second text and label",
            "Name another column with --text-column, --text-pair-column or --label-column",
        )


def refuse_second_text(raw: RawDataset, named: ColumnNames, what: str) -> None:
    """Refuse a second text where there is no room for one.

    Args:
        raw: The dataset.
        named: Columns that the user named.
        what: Its rows, for the message.

    Raises:
        TaskError: If a second text was named.
    """
    if named.text_pair is not None:
        raise TaskError(
            f"--text-pair-column is {named.text_pair!r}, but the rows of {raw.name!r} are {what}, "
            "which have no second text",
            "Leave it out",
        )


def _check_names(raw: RawDataset, table: pa.Table, named: ColumnNames) -> None:
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TaskError(
            f"{raw.name!r} has two columns named {twice[0]!r}", "Give every column its own name"
        )
    for option in ("text", "text_pair", "label"):
        column = getattr(named, option)
        if column is not None and column not in names:
            raise TaskError(
                f"--{option.replace('_', '-')}-column is {column!r}, but {raw.name!r} has the "
                f"columns {_listed(names)}",
                "Name one of them",
            )
    if named.text_pair is not None and named.text is None:
        raise TaskError(
            f"--text-pair-column is {named.text_pair!r} without --text-column",
            "Name both columns of the pair",
        )


def _find_label(raw: RawDataset, table: pa.Table) -> str:
    """Return the column with the first of the usual names."""
    by_lower = _by_lower_name(table.column_names)
    found = [by_lower[name] for name in _LABEL_NAMES if name in by_lower]
    if not found:
        raise TaskError(
            f"{raw.name!r} has no label column; its columns are {_listed(table.column_names)}, "
            f"recognised are {_listed(_LABEL_NAMES)}",
            "Name the label column with --label-column",
        )
    # `label` is beyond doubt; several of the others are not.
    if len(found) > 1 and found[0].lower() not in ("label", "labels"):
        raise TaskError(
            f"{raw.name!r} has several columns that may be the label: {_listed(found)}",
            "Name the right one with --label-column",
        )
    return found[0]


def _find_inputs(raw: RawDataset, table: pa.Table, named: ColumnNames, label: str) -> Roles:
    if named.text is not None:
        if _holds_images(table, named.text):
            refuse_second_text(raw, named, "images")
            return Roles(label, image=named.text)
        return Roles(label, text=named.text, text_pair=named.text_pair)
    known = {role: raw.columns[role] for role in _INPUT_ROLES if role in raw.columns}
    if known:
        return Roles(label, **known)
    images = [name for name in table.column_names if _holds_images(table, name)]
    if len(images) == 1:
        return Roles(label, image=images[0])
    return _find_texts(raw, table, label)


def _holds_images(table: pa.Table, name: str) -> bool:
    kind = table.schema.field(name).type
    if pa.types.is_struct(kind):
        return {kind.field(i).name for i in range(kind.num_fields)} == {"bytes", "path"}
    return bool(pa.types.is_binary(kind) and name.lower() in _IMAGE_NAMES)


def _find_texts(raw: RawDataset, table: pa.Table, label: str) -> Roles:
    others = [name for name in table.column_names if name != label]
    pair = _find_pair(others)
    usual = [name for name in others if name.lower() in _TEXT_NAMES or name in pair]
    if pair and len(usual) == len(pair):
        return Roles(label, text=pair[0], text_pair=pair[1])
    candidates = usual or [name for name in others if _holds_texts(table, name)]
    if len(candidates) == 1:
        return Roles(label, text=candidates[0])
    if not candidates:
        raise TaskError(
            f"{raw.name!r} has no text column beside the label {label!r}; "
            f"its columns are {_listed(table.column_names)}",
            "Name the text column with --text-column",
        )
    raise TaskError(
        f"{raw.name!r} has several columns that may be the text: {_listed(candidates)}",
        "Name the right one with --text-column (and the second of a pair with --text-pair-column)",
    )


def _find_pair(names: Sequence[str]) -> tuple[str, ...]:
    """Return the two columns of the first usual pair that is there, or nothing."""
    by_lower = _by_lower_name(names)
    for pair in _PAIR_NAMES:
        if all(name in by_lower for name in pair):
            return tuple(by_lower[name] for name in pair)
    return ()


def _holds_texts(table: pa.Table, name: str) -> bool:
    kind = table.schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return is_text and name.lower() not in _ASIDE_NAMES


def _by_lower_name(names: Sequence[str]) -> dict[str, str]:
    return {name.lower(): name for name in names}


def _listed(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
