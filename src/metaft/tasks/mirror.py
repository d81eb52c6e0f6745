"""Tasks that lie on this disk under their name: bundled with metaft, or in a mirror."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from metaft.errors import TaskError
from metaft.tasks.card import TaskCard, cards_folder, folder_name
from metaft.tasks.raw import SPLITS, RawDataset, Source

MIRROR_VARIABLE = "METAFT_DATA"


def bundled_folder(card: TaskCard) -> Path | None:
    """Return where the bundled part of a task lies; None where it is not bundled."""
    folder = cards_folder() / "data" / folder_name(card.name)
    return folder if card.bundled and folder.is_dir() else None


def mirror_folder(card: TaskCard) -> Path | None:
    """Return where the mirror named by `METAFT_DATA` keeps a task; None where it does not."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    if not mirror or card.mirror_folder is None:
        return None
    folder = Path(mirror).expanduser() / card.mirror_folder
    return folder if folder.is_dir() else None


def read_on_disk(card: TaskCard) -> RawDataset | None:
    """Read a task from the bundle, or else from the mirror; None where neither has it.

    Raises:
        TaskError: If a file cannot be read.
    """
    bundled, mirrored = bundled_folder(card), mirror_folder(card)
    if bundled is not None:
        return _read_folder(card, bundled, "bundled")
    return None if mirrored is None else _read_folder(card, mirrored, "mirror")


def _read_folder(card: TaskCard, folder: Path, source: Source) -> RawDataset:
    """Read `{train,validation,test}.parquet`, whose columns are named by their role."""
    from pyarrow import parquet

    try:
        tables = {
            split: parquet.read_table(folder / f"{split}.parquet")
            for split in SPLITS
            if (folder / f"{split}.parquet").is_file()
        }
    except (OSError, pa.ArrowException) as error:
        raise TaskError(
            f"the {source} task {card.name!r} in {folder} cannot be read: {error}",
            "Copy the folder again",
        ) from error
    if "train" not in tables:
        raise TaskError(
            f"the {source} task {card.name!r} lacks {folder / 'train.parquet'}",
            "Copy the folder again",
        )
    roles = {name: name for name in tables["train"].column_names}
    return RawDataset(card.name, source, tables, card=card, columns=roles)
