"""Tagged words: tasks in which every word of a row has a tag, such as B-PER or O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from metaft.errors import TaskError
from metaft.tasks.card import relatives_of
from metaft.tasks.columns import ColumnNames, refuse_second_text, refuse_shared
from metaft.tasks.inputs import MAX_ROW_BYTES, refuse_few_rows
from metaft.tasks.labels import labelled_tables
from metaft.tasks.raw import RawDataset
from metaft.tasks.separating import separate
from metaft.tasks.task import Split, Task

OUTSIDE = "O"
"""The tag of words that belong to nothing, in BIO and BIOES."""

_WORD_NAMES = ("tokens", "words")
_TAG_NAMES = ("ner_tags", "tags", "labels", "label", "pos_tags", "chunk_tags", "slots")


def is_tagged(raw: RawDataset, named: ColumnNames) -> bool:
    """Say whether the rows of a dataset are lists of words with lists of tags."""
    if raw.card is not None:
        return raw.card.kind == "ner"
    schema = raw.tables["train"].schema
    words = _find(schema, named.text, _WORD_NAMES)
    return words is not None and _holds_lists_of_texts(schema, words)


def read_tagged(raw: RawDataset, named: ColumnNames, seed: int) -> Task:
    """Make a Task of tagged words.

    Args:
        raw: Its rows hold lists of words, and lists of tags: names, or numbers of names that the
            card or the file declares.
        named: Columns that the user named.
        seed: Of the cuts of missing splits.

    Raises:
        TaskError: If a column is missing, words and tags do not fit together, or there are too
            few rows.
    """
    refuse_second_text(raw, named, "tagged words")
    words_column, tags_column = _columns_of(raw, named)
    tables, notices = labelled_tables(raw, (words_column,), tags_column, "tags")
    names = _tag_names(raw, tables, tags_column)
    rows = {}
    for split, table in tables.items():
        rows[split], dropped = _read_rows(table, words_column, tags_column, names, raw.name)
        if dropped:
            notices.append(f"{dropped} rows of {split} have no words: left out")
    refuse_few_rows(sum(map(len, rows.values())), raw.name)
    counts = _count_tags([tags for _, tags in rows["train"]], len(names))
    splits = {split: _split_of(found, counts) for split, found in rows.items()}
    splits, cut_notices = separate(splits, raw.name, seed)
    return Task(
        name=raw.name,
        kind="ner",
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        label_names=names,
        metric=raw.card.metric if raw.card is not None else "entity_f1",
        source=raw.source,
        relatives=relatives_of(raw.name),
        notices=(*notices, *cut_notices),
    )


def _columns_of(raw: RawDataset, named: ColumnNames) -> tuple[str, str]:
    schema = raw.tables["train"].schema
    words = named.text or raw.columns.get("tokens") or _find(schema, None, _WORD_NAMES)
    tags = named.label or raw.columns.get("label") or _find(schema, None, _TAG_NAMES)
    refuse_shared(raw, [name for name in (words, tags) if name is not None])
    for option, column in (("text", words), ("label", tags)):
        if column is None or column not in schema.names:
            raise TaskError(
                f"{raw.name!r} has no column of {'words' if option == 'text' else 'tags'}"
                f"{f' named {column!r}' if column else ''}; its columns are "
                f"{', '.join(schema.names)}",
                f"Name it with --{option}-column",
            )
        if not _is_list(schema.field(column).type):
            raise TaskError(
                f"the column {column!r} of {raw.name!r} holds values of type "
                f"{schema.field(column).type}; tagged words are lists, a word beside its tag",
                "Write JSON lines such as "
                '{"tokens": ["Anna", "sings"], "ner_tags": ["B-PER", "O"]}',
            )
    return str(words), str(tags)


def _find(schema: pa.Schema, named: str | None, usual: Sequence[str]) -> str | None:
    """Return the named column, or the first of the usual ones that is there."""
    if named is not None:
        return named if named in schema.names else None
    return next((name for name in usual if name in schema.names), None)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _holds_lists_of_texts(schema: pa.Schema, name: str) -> bool:
    kind = schema.field(name).type
    if not _is_list(kind):
        return False
    return bool(pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type))


def _tag_names(raw: RawDataset, tables: Mapping[str, pa.Table], column: str) -> tuple[str, ...]:
    """Return tag number -> name: as declared, or the names that occur, `O` first."""
    kind = raw.tables["train"].schema.field(column).type.value_type
    declared = raw.class_names.get(column, ()) or (raw.card.label_names if raw.card else ())
    if pa.types.is_integer(kind):
        if not declared:
            raise TaskError(
                f"the tags of {raw.name!r} are numbers without names, so nobody can tell where an "
                "entity begins",
                "Write them as texts such as B-PER, I-PER and O",
            )
        return tuple(declared)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise TaskError(
            f"the tags of {raw.name!r} are of type {kind}; allowed are texts and whole numbers",
            "Write them as texts such as B-PER, I-PER and O",
        )
    found = {
        tag
        for table in tables.values()
        for row in table[column].to_pylist()
        for tag in row or ()
        if tag is not None
    }
    if len(found) < 2:
        raise TaskError(
            f"every word of {raw.name!r} has the tag {min(found, default='')!r}; at least 2 tags "
            "are needed",
            "Add rows with other tags",
        )
    if declared and found <= set(declared):
        return tuple(declared)
    return tuple(sorted(found, key=lambda name: (name != OUTSIDE, name)))


_Row = tuple[tuple[str, ...], np.ndarray]


def _read_rows(
    table: pa.Table, words_column: str, tags_column: str, names: tuple[str, ...], dataset: str
) -> tuple[list[_Row], int]:
    """Return words and tag numbers of each row that has words, and how many have none."""
    number_of: Mapping[object, int] = {name: number for number, name in enumerate(names)}
    rows: list[_Row] = []
    every_words, every_tags = table[words_column].to_pylist(), table[tags_column].to_pylist()
    for at, (words, tags) in enumerate(zip(every_words, every_tags, strict=True), 1):
        if not words:
            continue
        _check_row(words, tags or [], f"row {at} of {dataset!r}")
        numbers = [tag if isinstance(tag, int) else number_of.get(tag, -1) for tag in tags]
        if min(numbers) < 0 or max(numbers) >= len(names):
            wrong = next(t for t, n in zip(tags, numbers, strict=True) if not 0 <= n < len(names))
            raise TaskError(
                f"row {at} of {dataset!r} has the tag {wrong!r}; allowed are 0 to "
                f"{len(names) - 1}, for its {len(names)} names",
                "Correct the tag or the names",
            )
        rows.append((tuple(words), np.array(numbers, dtype=np.int64)))
    return rows, len(every_words) - len(rows)


def _check_row(words: list[str | None], tags: list[object], where: str) -> None:
    if len(words) != len(tags):
        raise TaskError(
            f"{where} has {len(words)} words and {len(tags)} tags", "Give every word one tag"
        )
    if any(word is None for word in words) or any(tag is None for tag in tags):
        raise TaskError(f"{where} has a word or a tag that is missing", "Fill it in")
    size = sum(len(str(word).encode()) + 1 for word in words)
    if size > MAX_ROW_BYTES:
        raise TaskError(
            f"{where} has {size:,} bytes of text; allowed are {MAX_ROW_BYTES:,} (1 MiB)",
            "Split it into several rows",
        )


def _count_tags(rows: Sequence[np.ndarray], tags: int) -> np.ndarray:
    every = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
    return np.bincount(every, minlength=tags)


def _split_of(rows: Sequence[_Row], counts: np.ndarray) -> Split:
    """Make a split; a row is sampled by that of its tags which is rarest in training."""
    rarest = [int(tags[np.argmin(counts[tags])]) for _, tags in rows]
    return Split(
        labels=np.array(rarest, dtype=np.int64),
        texts=tuple(" ".join(words) for words, _ in rows),
        words=tuple(words for words, _ in rows),
        tags=tuple(tags for _, tags in rows),
    )
