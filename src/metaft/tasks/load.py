"""load_task: find a dataset, read its rows, and make a Task of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from metaft.errors import TaskError
from metaft.tasks.card import (
    LOADABLE_KINDS,
    cards_folder,
    folder_name,
    load_cards,
    relatives_of,
)
from metaft.tasks.split import cut_validation
from metaft.tasks.task import Split, Task


@dataclass(frozen=True)
class ColumnNames:
    """Columns that the user named; None where they are to be recognised."""

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None


def load_task(
    dataset: str,
    *,
    columns: ColumnNames = ColumnNames(),
    offline: bool = False,
    seed: int = 0,
) -> Task:
    """Load a task by its name."""
    card = load_cards().get(dataset)
    if card is None or card.kind not in LOADABLE_KINDS:
        raise TaskError(f"there is no dataset {dataset!r} that can be loaded")
    folder = cards_folder() / "data" / folder_name(dataset)
    source = "bundled"
    if not card.bundled or not folder.is_dir():
        source = "mirror"
        folder = Path(os.environ["METAFT_DATA"]) / str(card.mirror_folder)
    splits = {
        path.stem: _split(pq.read_table(path))
        for path in sorted(folder.glob("*.parquet"))
    }
    if "validation" not in splits:
        splits["train"], splits["validation"] = cut_validation(splits["train"], seed)
    return Task(
        name=dataset,
        kind=card.kind,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        label_names=card.label_names,
        metric=card.metric,
        source=source,
        relatives=relatives_of(dataset),
    )


def _split(table: pa.Table) -> Split:
    columns = table.column_names
    labels = table["label"].to_numpy()
    kind = np.float64 if labels.dtype.kind == "f" else np.int64
    texts = tuple(table["text"].to_pylist()) if "text" in columns else None
    pairs = tuple(table["text_pair"].to_pylist()) if "text_pair" in columns else None
    images = (
        tuple(c["bytes"] for c in table["image"].to_pylist())
        if "image" in columns
        else None
    )
    return Split(
        labels=labels.astype(kind), texts=texts, text_pairs=pairs, images=images
    )
