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
Metric = Literal["accuracy", "macro_f1", "pearson", "spearman", "entity_f1", "exact_match"]
_Cell = TypeVar("_Cell")


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one split, column by column; every column has the same length.

    Attributes:
        labels: `(rows,)`, int64 class numbers, or float64 targets of a regression.
        texts: The text of each row; None for images.
        text_pairs: The second text of each row; None where there is one text.
        images: The encoded bytes (PNG, JPEG ...) of each row; None for texts.
    """

    labels: np.ndarray
    texts: tuple[str, ...] | None = None
    text_pairs: tuple[str, ...] | None = None
    images: tuple[bytes, ...] | None = None

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
        )


@dataclass(frozen=True, eq=False)
class Task:
    """A named, materialised supervised problem.

    Attributes:
        name: The card's name (`glue/sst2`), or the path it was read from.
        kind: What is predicted from what.
        train, validation, test: The splits; no text stands in two of them.
        label_names: Class number -> name; empty for a regression.
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
        """Outputs of the head: the classes, or 1 for a regression."""
        return 1 if self.is_regression else len(self.label_names)

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
        return digest.hexdigest()[:16]

    def replaced(self, **splits: Split) -> Task:
        """Return a copy with some splits replaced."""
        return dataclasses.replace(self, **splits)  # type: ignore[arg-type]
