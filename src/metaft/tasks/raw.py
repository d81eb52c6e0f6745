"""RawDataset: the rows of a dataset as its source gives them, before anything is checked."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from metaft.errors import TaskError
from metaft.tasks.card import TaskCard

Source = Literal["file", "bundled", "mirror", "hub"]

SPLITS: tuple[str, ...] = ("train", "validation", "test")
_SPLIT_OF_NAME: dict[str, str] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, eq=False)
class RawDataset:
    """The rows of a dataset as its source gives them.

    Attributes:
        name: The task's name, hub id, or path.
        source: Where the rows came from.
        tables: Split (`train` always, `validation`, `test` where there are) -> its rows.
        card: The task card, where there is one.
        columns: Role -> column, as far as the card knows.
        class_names: Column -> its class names, where the source declares them.
    """

    name: str
    source: Source
    tables: Mapping[str, pa.Table]
    card: TaskCard | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def split_named(name: str) -> str | None:
    """Return the split that a file, folder or hub split is named after; None for no split.

    Only the first word counts: `dev`, `dev-00000-of-00002`, `validation_matched`.
    """
    return _SPLIT_OF_NAME.get(name.lower().replace("_", "-").replace(".", "-").split("-")[0])


def tables_by_split(parts: Iterable[tuple[str, pa.Table]], name: str) -> dict[str, pa.Table]:
    """Put together the parts that are named after one split.

    Args:
        parts: Names such as `train-00000-of-00002` or `validation_matched`, with their rows; a
            part that is named after no split keeps its name.
        name: The dataset's name, for messages.

    Raises:
        TaskError: If the columns of such parts do not fit together.
    """
    tables: dict[str, list[pa.Table]] = defaultdict(list)
    for part, table in parts:
        tables[split_named(part) or part].append(table)
    return {split: _put_together(found, split, name) for split, found in tables.items()}


def _put_together(tables: list[pa.Table], split: str, name: str) -> pa.Table:
    if len(tables) == 1:
        return tables[0]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise TaskError(
            f"the parts of the {split} split of {name!r} do not fit together: {reason}",
            "Give them the same columns",
        ) from error


def with_train(tables: Mapping[str, pa.Table], name: str) -> dict[str, pa.Table]:
    """Return the tables in the order of `SPLITS`; a single table is the training split.

    Raises:
        TaskError: If there is no training split among several.
    """
    if len(tables) == 1:
        return {"train": next(iter(tables.values()))}
    if "train" not in tables:
        raise TaskError(
            f"{name!r} has no training split, only {', '.join(tables) or 'nothing at all'}",
            "Name one of its files or folders `train`",
        )
    return {split: tables[split] for split in SPLITS if split in tables}


def declared_class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Return the class names that a Parquet or Arrow file written by `datasets` declares.

    Of a column that holds lists of classes, such as the tags of words, likewise.
    """
    try:
        written = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = written.get("info", {}).get("features", {})
        described = {column: _of_items(feature) for column, feature in features.items()}
        return {
            column: tuple(feature["names"])
            for column, feature in described.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, AttributeError, TypeError):
        return {}  # somebody else's metadata under the same key


def _of_items(feature: Any) -> Any:
    """Return what a list's items are described as; anything else as it is."""
    if isinstance(feature, list):
        return feature[0] if len(feature) == 1 else None
    is_list = isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List")
    return feature.get("feature") if is_list else feature
