"""Local data: CSV, TSV, JSON lines, Parquet, folders of these, image and save_to_disk folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa

from metaft.errors import TaskError
from metaft.tasks.raw import (
    RawDataset,
    declared_class_names,
    split_named,
    tables_by_split,
    with_train,
)

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)
_IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_UNSAFE_SUFFIXES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".py"})


def existing_path(dataset: str) -> Path | None:
    """Return the file or folder a name stands for; None where there is none."""
    try:
        path = Path(dataset).expanduser()
        return path if dataset and path.exists() else None
    except (OSError, RuntimeError, ValueError):
        return None  # too long, no such user, or a zero byte


def looks_like_path(dataset: str) -> bool:
    """Say whether a name that is no existing file was meant as one."""
    path = Path(dataset)
    return dataset.startswith((".", "/", "~")) or path.suffix.lower() in {
        *_READERS,
        *_UNSAFE_SUFFIXES,
    }


def read_path(path: Path) -> RawDataset:
    """Read a data file or folder.

    Args:
        path: Exists. A CSV, TSV, JSON lines or Parquet file; a folder with train, validation
            and test files of one of these; a folder of images, one folder per class, with or
            without train and test folders above them; or a folder written by `save_to_disk`.

    Raises:
        TaskError: If it is empty, cannot be read, or is none of these.
    """
    name = str(path)
    try:
        tables = _read_tables(path)
    except OSError as error:
        raise TaskError(f"{name!r} cannot be read: {error}", "Check its permissions") from error
    for split, table in tables.items():
        if table.num_rows == 0:
            raise TaskError(f"the {split} split of {name!r} has no rows", "Give data with rows")
    tables = with_train(tables, name)
    return RawDataset(
        name=name,
        source="file",
        tables=tables,
        class_names=declared_class_names(tables["train"].schema),
    )


def _read_tables(path: Path) -> dict[str, pa.Table]:
    if path.is_file():
        return {"train": read_table(path)}
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        return _read_saved(path)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in _READERS)
    return _read_split_files(path, files) if files else _read_image_folders(path)


def read_table(path: Path) -> pa.Table:
    """Read one data file of any size but 0: CSV, TSV, JSON lines or Parquet.

    Raises:
        TaskError: If it is none of these, empty, or cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in _UNSAFE_SUFFIXES:
        raise TaskError(
            f"{str(path)!r} can only be read by running code from it (pickle), which metaft "
            "never does",
            "Save the rows as CSV, JSON lines or Parquet",
        )
    if suffix not in _READERS:
        raise TaskError(
            f"{str(path)!r} is no data file; allowed are {', '.join(_READERS)}",
            "Save the rows in one of these formats",
        )
    try:
        if path.stat().st_size == 0:
            raise TaskError(f"the file {str(path)!r} is empty", "Give a file with rows")
        return _READERS[suffix](path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise TaskError(
            f"the file {str(path)!r} cannot be read as {suffix[1:]}: {_first_line(error)}",
            "Check that it is whole, in UTF-8, and what its suffix says",
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


_CSV_DELIMITERS = (",", ";", "\t")  # The first one that the header holds counts.


def _read_csv(path: Path) -> pa.Table:
    """Read a CSV; spreadsheets part by semicolons where the comma is the decimal sign.

    A header without any comma would be a single column, which is no dataset.
    """
    with path.open("rb") as file:
        header = file.readline()
    delimiter = next((mark for mark in _CSV_DELIMITERS if mark.encode() in header), ",")
    return _read_delimited(path, delimiter, quote='"')


def _read_tsv(path: Path) -> pa.Table:
    """Read a TSV, whose quotes may or may not mean anything.

    Taken for quoting, a lone quote before a word swallows lines up to the next one: then the
    reading that takes quotes as they are has more rows, and is right.
    """
    try:
        literal = _read_delimited(path, "\t", quote=False)
    except pa.ArrowInvalid:
        return _read_delimited(path, "\t", quote='"')
    try:
        quoted = _read_delimited(path, "\t", quote='"')
    except pa.ArrowInvalid:
        return literal
    return quoted if quoted.num_rows == literal.num_rows else literal


def _read_delimited(path: Path, delimiter: str, *, quote: str | Literal[False]) -> pa.Table:
    from pyarrow import csv

    table = csv.read_csv(
        path,
        # One block: the reader has no word for a row that is longer than a block.
        read_options=csv.ReadOptions(block_size=max(1 << 16, path.stat().st_size + 1)),
        parse_options=csv.ParseOptions(
            delimiter=delimiter, quote_char=quote, newlines_in_values=bool(quote)
        ),
    )
    for column in table.schema:
        if pa.types.is_binary(column.type):
            raise ValueError(f"the column {column.name!r} is not in UTF-8")
    return table


def _read_json(path: Path) -> pa.Table:
    """Read JSON lines, or one JSON array of objects."""
    from pyarrow import json as arrow_json

    with path.open("rb") as file:
        is_array = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    if is_array:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("the array holds something else than objects")
        names = dict.fromkeys(name for row in rows for name in row)
        return pa.table({name: [row.get(name) for row in rows] for name in names})
    block_bytes = max(1 << 16, path.stat().st_size + 1)
    return arrow_json.read_json(path, read_options=arrow_json.ReadOptions(block_size=block_bytes))


def _read_parquet(path: Path) -> pa.Table:
    from pyarrow import parquet

    return parquet.read_table(path)


_READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
    ".parquet": _read_parquet,
}


def _read_split_files(folder: Path, files: list[Path]) -> dict[str, pa.Table]:
    """Read `train.csv`, `test-00000-of-00002.parquet` and the like; one lone file is train."""
    if len(files) == 1:
        return {"train": read_table(files[0])}
    parts = [(file.stem, read_table(file)) for file in files if split_named(file.stem) is not None]
    if not parts:
        raise TaskError(
            f"the folder {str(folder)!r} holds {len(files)} data files, none of them named "
            "train, validation or test",
            "Name one file of it, or rename the files",
        )
    return tables_by_split(parts, str(folder))


def _read_saved(folder: Path) -> dict[str, pa.Table]:
    """Read what `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote: Arrow, no code."""
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise TaskError(
            f"the folder {str(folder)!r} looks like one of save_to_disk, but cannot be read: "
            f"{_first_line(error)}",
            "Save the dataset again",
        ) from error
    parts = saved if isinstance(saved, datasets.DatasetDict) else {"train": saved}
    tables = ((str(name), part.with_format("arrow")[:]) for name, part in parts.items())
    return tables_by_split(tables, str(folder))


def _read_image_folders(folder: Path) -> dict[str, pa.Table]:
    """Read one folder per class, with or without a level of train and test folders above."""
    inside = _visible_folders(folder)
    splits = _split_folders(folder, inside)
    if splits:
        tables = {split: _read_class_folders(path) for split, path in splits.items()}
    else:
        tables = {"train": _read_class_folders(folder)}
    if not any(table.num_rows for table in tables.values()):
        raise TaskError(
            f"the folder {str(folder)!r} holds neither data files ({', '.join(_READERS)}) nor "
            "one folder of images per class",
            "Name the data file itself, or sort the images into one folder per class",
        )
    return tables


def _split_folders(folder: Path, inside: list[Path]) -> dict[str, Path]:
    """Return split -> folder where the folders of an image folder are splits, else nothing.

    A class may be called train, too; then images lie in its folder, and no folders.

    Raises:
        TaskError: If only some of them are splits, or two of them are the same one.
    """
    split_of = {path: name for path in inside if (name := split_named(path.name)) is not None}
    if len(split_of) < len(inside) and not any(_visible_folders(path) for path in split_of):
        return {}
    other = [path.name for path in inside if path not in split_of]
    if other:
        raise TaskError(
            f"the image folder {str(folder)!r} holds {min(path.name for path in split_of)!r}, "
            f"which is a split with folders in it, beside {other[0]!r}, which is none",
            "Move the folders away that are no splits, or give classes other names",
        )
    splits = {split: path for path, split in split_of.items()}
    twice = [path.name for path, split in split_of.items() if path != splits[split]]
    if twice:
        raise TaskError(
            f"the image folder {str(folder)!r} holds two folders of the "
            f"{split_named(twice[0])} split, {twice[0]!r} and "
            f"{splits[str(split_named(twice[0]))].name!r}",
            "Keep one of them",
        )
    return splits


def _visible_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, but for those that a program left there for itself."""
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and _is_visible(path.name)]


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _read_class_folders(folder: Path) -> pa.Table:
    images, labels = [], []
    for path in _image_files(folder):
        images.append({"bytes": path.read_bytes(), "path": str(path)})
        labels.append(path.relative_to(folder).parts[0])
    columns = [pa.array(images, type=_IMAGE_TYPE), pa.array(labels, type=pa.string())]
    return pa.table(columns, names=["image", "label"])


def _image_files(folder: Path) -> Iterator[Path]:
    """Give the images below the class folders, as torchvision's ImageFolder finds them."""
    for class_folder in _visible_folders(folder):
        for path in sorted(class_folder.rglob("*")):
            is_visible = all(map(_is_visible, path.relative_to(folder).parts))
            if is_visible and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
                yield path
