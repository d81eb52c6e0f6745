"""Questions: tasks in which the answer is a piece of a context, as in SQuAD."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from metaft.errors import TaskError
from metaft.tasks.card import relatives_of
from metaft.tasks.columns import RECOGNISED, ColumnNames, refuse_shared
from metaft.tasks.inputs import drop_empty_texts, read_texts, refuse_few_rows, refuse_long_rows
from metaft.tasks.labels import labelled_tables
from metaft.tasks.raw import RawDataset
from metaft.tasks.separating import separate
from metaft.tasks.task import Answer, Split, Task

_COLUMNS = ("question", "context", "answers")


def asks_questions(raw: RawDataset, named: ColumnNames = RECOGNISED) -> bool:
    """Say whether the rows of a dataset are questions with a context and answers.

    A user who names other columns than these means another task.
    """
    if raw.card is not None:
        return raw.card.kind == "qa"
    meant = zip(_COLUMNS, (named.text, named.text_pair, named.label), strict=True)
    if any(name not in (None, usual) for usual, name in meant):
        return False
    return set(_COLUMNS) <= set(raw.tables["train"].column_names)


def read_questions(raw: RawDataset, named: ColumnNames, seed: int) -> Task:
    """Make a Task of questions.

    Args:
        raw: Its rows hold `question`, `context` and `answers`, which is
            `{"text": [...], "answer_start": [...]}`; empty lists say that there is no answer.
        named: Columns that the user named: of the question, the context and the answers.
        seed: Of the cuts of missing splits.

    Raises:
        TaskError: If a column is missing or holds something else, or there are too few rows.
    """
    columns = _columns_of(raw, named)
    tables, notices = labelled_tables(raw, columns[:2], columns[2], "answers")
    splits = {}
    for split, table in tables.items():
        splits[split], more = _read_split(table, columns, f"the {split} split of {raw.name!r}")
        notices += more
    refuse_few_rows(sum(map(len, splits.values())), raw.name)
    splits, cut_notices = separate(splits, raw.name, seed)
    return Task(
        name=raw.name,
        kind="qa",
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        label_names=(),
        metric=raw.card.metric if raw.card is not None else "exact_match",
        source=raw.source,
        relatives=relatives_of(raw.name),
        notices=(*notices, *cut_notices),
    )


def _columns_of(raw: RawDataset, named: ColumnNames) -> tuple[str, str, str]:
    meant = zip(_COLUMNS, (named.text, named.text_pair, named.label), strict=True)
    question, context, answers = (name or raw.columns.get(role, role) for role, name in meant)
    refuse_shared(raw, (question, context, answers))
    names = raw.tables["train"].column_names
    missing = [name for name in (question, context, answers) if name not in names]
    if missing:
        raise TaskError(
            f"{raw.name!r} lacks the column {missing[0]!r} of a question task; its columns are "
            f"{', '.join(names)}",
            "Name the columns question, context and answers",
        )
    return question, context, answers


def _read_split(
    table: pa.Table, columns: tuple[str, str, str], place: str
) -> tuple[Split, list[str]]:
    question, context, answers = columns
    whole, dropped = drop_empty_texts(table, (question, context), place)
    refuse_long_rows(whole, (question, context), place)
    contexts = read_texts(whole, context, place)
    found = [
        _answers_in(cell, text, f"row {at} of {place}")
        for at, (cell, text) in enumerate(zip(whole[answers].to_pylist(), contexts, strict=True), 1)
    ]
    kept = [at for at, right in enumerate(found) if right is not None]
    split = Split(
        labels=np.array([bool(right) for right in found], dtype=np.int64),
        texts=read_texts(whole, question, place),
        text_pairs=contexts,
        answers=tuple(right or () for right in found),
    )
    notices = []
    if dropped:
        notices.append(f"{dropped} rows of {place} have no question or no context: left out")
    if len(kept) < len(found):
        notices.append(
            f"{len(found) - len(kept)} rows of {place} have answers that do not stand in their "
            "context: left out"
        )
    return split.take(kept), notices


def _answers_in(cell: Any, context: str, where: str) -> tuple[Answer, ...] | None:
    """Return the answers of a row that stand in its context; None where none of them does.

    An answer that stands elsewhere than said, as after a change of white space, is put right.
    """
    texts, starts = _parts_of(cell, where)
    found = [_place(text, start, context) for text, start in zip(texts, starts, strict=True)]
    right = tuple(dict.fromkeys(answer for answer in found if answer is not None))
    return right if right or not texts else None


def _parts_of(cell: Any, where: str) -> tuple[list[str], list[int]]:
    cell = {"text": [], "answer_start": []} if cell is None else cell
    texts: Any = cell.get("text") if isinstance(cell, dict) else None
    starts: Any = cell.get("answer_start") if isinstance(cell, dict) else None
    if not _are(str, texts) or not _are(int, starts) or len(texts) != len(starts):
        raise TaskError(
            f"the answers in {where} are {str(cell)[:60]!r}; allowed is "
            '{"text": [...], "answer_start": [...]}, texts and whole numbers, as many of each',
            "Write them as SQuAD does",
        )
    return texts, starts


def _are(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _place(text: str, start: int, context: str) -> Answer | None:
    stripped = text.strip()
    if not stripped:
        return None
    start += len(text) - len(text.lstrip())
    if not context.startswith(stripped, start):
        start = context.find(stripped)
    return Answer(stripped, start) if start >= 0 else None
