"""Task: a named, materialised supervised problem with three splits."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np

Kind = Literal[
    "classification",
    "pair_classification",
    "regression",
    "image_classification",
    "ner",
    "qa",
]
Modality = Literal["text", "image"]
Sort = Literal["classes", "numbers", "tags", "spans"]
"""What rows are answered with; kinds of one sort share a loss and a scale of scores."""

_SORT_OF: dict[Kind, Sort] = {
    "classification": "classes",
    "pair_classification": "classes",
    "image_classification": "classes",
    "regression": "numbers",
    "ner": "tags",
    "qa": "spans",
}
Metric = Literal["accuracy", "macro_f1", "pearson", "spearman", "entity_f1", "exact_match"]
_Cell = TypeVar("_Cell")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a question.

    Attributes:
        text: As it stands in the context.
        start: Place of its first character there.
    """

    text: str
    start: int


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one split, column by column; every column has the same length.

    Attributes:
        labels: `(rows,)`, int64 class numbers, or float64 targets of a regression. Where what is
            predicted stands at places of the text, this is what rows are sampled by: the number
            of the rarest tag in the row, or whether the question has an answer (1 or 0).
        texts: The text of each row; None for images. Of tagged words, these with spaces between
            them; of questions, the question.
        text_pairs: The second text of each row; None where there is one text. Of questions, the
            context.
        images: The encoded bytes (PNG, JPEG ...) of each row; None for texts.
        words: The words of each row, where words have tags.
        tags: `(words,)` int64 tag number of each row's words, likewise.
        answers: The right answers to each row's question, one of which is enough; none where
            the context has no answer.
    """

    labels: np.ndarray
    texts: tuple[str, ...] | None = None
    text_pairs: tuple[str, ...] | None = None
    images: tuple[bytes, ...] | None = None
    words: tuple[tuple[str, ...], ...] | None = None
    tags: tuple[np.ndarray, ...] | None = None
    answers: tuple[tuple[Answer, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Sequence[int] | np.ndarray) -> Split:
        """Return the given rows, in the given order."""

        def pick(column: tuple[_Cell, ...] | None) -> tuple[_Cell, ...] | None:
            return None if column is None else tuple(column[row] for row in rows)

        return Split(
            labels=self.labels[np.asarray(rows, dtype=np.int64)],
            texts=pick(self.texts),
            text_pairs=pick(self.text_pairs),
            images=pick(self.images),
            words=pick(self.words),
            tags=pick(self.tags),
            answers=pick(self.answers),
        )


@dataclass(frozen=True, eq=False)
class Task:
    """A named, materialised supervised problem.

    Attributes:
        name: The card's name (`glue/sst2`), or the path it was read from.
        kind: What is predicted from what.
        train, validation, test: The splits; no text stands in two of them.
        label_names: Class number -> name; empty for regressions and questions.
        metric: The primary metric; higher is better.
        source: Where the rows came from: `bundled`, `mirror`, `file`, `hub`.
        relatives: Names of tasks that share texts or a domain with this one.
        notices: What the user should know of how the splits came about.
    """

    name: str
    kind: Kind
    train: Split
    validation: Split
    test: Split
    label_names: tuple[str, ...]
    metric: Metric
    source: str
    relatives: frozenset[str] = frozenset()
    notices: tuple[str, ...] = ()

    @property
    def modality(self) -> Modality:
        """`text` or `image`."""
        return "image" if self.kind == "image_classification" else "text"

    @property
    def is_regression(self) -> bool:
        """Whether the labels are numbers rather than classes."""
        return self.kind == "regression"

    @property
    def num_outputs(self) -> int:
        """Outputs of the head: the classes, 1 for a regression, or an answer's two ends."""
        if self.kind == "qa":
            return 2
        return 1 if self.is_regression else len(self.label_names)

    @property
    def training_classes(self) -> np.ndarray | None:
        """Class number of every training row, or of each of their words; None without classes."""
        if self.train.tags is not None:
            return np.concatenate(self.train.tags)
        return None if self.is_regression or self.kind == "qa" else self.train.labels

    @property
    def is_by_token(self) -> bool:
        """Whether the head answers for every token rather than for the row."""
        return self.kind in ("ner", "qa")

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over the kind, the classes and every row of every split."""
        digest = hashlib.sha256()
        digest.update(repr((self.kind, self.label_names, self.metric)).encode())
        for split in (self.train, self.validation, self.test):
            digest.update(np.ascontiguousarray(split.labels).tobytes())
            for column in (split.texts, split.text_pairs, split.images):
                for value in column or ():
                    raw = value if isinstance(value, bytes) else value.encode()
                    digest.update(len(raw).to_bytes(8, "little"))
                    digest.update(raw)
            for words, tags in zip(split.words or (), split.tags or (), strict=True):
                digest.update("\x1f".join(words).encode())
                digest.update(np.ascontiguousarray(tags).tobytes())
            for answers in split.answers or ():
                digest.update(repr([(answer.text, answer.start) for answer in answers]).encode())
        return digest.hexdigest()[:16]

    def replaced(self, **splits: Split) -> Task:
        """Return a copy with some splits replaced."""
        return dataclasses.replace(self, **splits)  # type: ignore[arg-type]


def sort_of(kind: Kind) -> Sort:
    """Return what the rows of tasks of a kind are answered with."""
    return _SORT_OF[kind]
