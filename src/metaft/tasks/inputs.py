"""Reading the texts and images of a split, and refusing those no model should be given."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metaft.errors import TaskError

MIN_ROWS = 8
MAX_ROW_BYTES = 1 << 20
MAX_PIXELS = 50_000_000
_NUMERIC_SHARE = 0.9  # a text column with so many numbers is none
_NUMBER = r"^\s*[-+]?(\d+([.,]\d*)*|[.,]\d+)([eE][-+]?\d+)?\s*%?\s*$"
_NAME_IT = "Name the right one with --text-column"
# What Pillow decodes itself: EPS, for one, would run Ghostscript on the file.
_IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")


def drop_empty_texts(table: pa.Table, columns: tuple[str, ...], place: str) -> tuple[pa.Table, int]:
    """Drop the rows in which a text is missing or blank.

    Args:
        table: One split.
        columns: Its text columns.
        place: Which split of which dataset, for messages.

    Returns:
        What remains, and how many rows were dropped.

    Raises:
        TaskError: If a column holds no texts.
    """
    keep = np.ones(table.num_rows, dtype=bool)
    for column in columns:
        texts = _as_texts(table[column], column, place)
        keep &= pc.not_equal(pc.utf8_trim_whitespace(texts.fill_null("")), "").to_numpy()
    dropped = int(table.num_rows - keep.sum())
    return (table.filter(pa.array(keep)) if dropped else table), dropped


def read_texts(
    table: pa.Table, column: str, place: str, *, cure: str = _NAME_IT
) -> tuple[str, ...]:
    """Return a text column.

    Args:
        table: One split.
        column: Its text column.
        place: Which split of which dataset, for messages.
        cure: What to do where it holds no texts.

    Raises:
        TaskError: If it holds numbers or something else than texts.
    """
    texts = _as_texts(table[column], column, place, cure)
    numeric = pc.sum(pc.match_substring_regex(texts, _NUMBER)).as_py() or 0
    if numeric > _NUMERIC_SHARE * len(texts):
        raise _no_texts(column, place, f"holds numbers ({texts[0].as_py()!r} ...)", cure)
    return tuple(texts.to_pylist())


def refuse_few_rows(rows: int, name: str) -> None:
    """Refuse a dataset of fewer than 8 rows in all splits together.

    Raises:
        TaskError: Naming it.
    """
    if rows < MIN_ROWS:
        raise TaskError(f"{name!r} has {rows} rows; at least {MIN_ROWS} are needed", "Add rows")


def refuse_long_rows(table: pa.Table, columns: tuple[str, ...], place: str) -> None:
    """Refuse rows of more than 1 MiB.

    Raises:
        TaskError: Naming the first such row.
    """
    row_bytes = sum(
        pc.binary_length(_as_texts(table[name], name, place)).to_numpy().astype(np.int64)
        for name in columns
    )
    too_long = np.flatnonzero(row_bytes > MAX_ROW_BYTES)
    if len(too_long):
        size = int(np.atleast_1d(row_bytes)[too_long[0]])
        raise TaskError(
            f"row {too_long[0] + 1} of {place} has {size:,} bytes of text; "
            f"allowed are {MAX_ROW_BYTES:,} (1 MiB)",
            "Shorten it, or split it into several rows",
        )


def read_images(table: pa.Table, column: str, place: str, *, decode: bool) -> tuple[bytes, ...]:
    """Return the encoded images of a column.

    Args:
        table: One split.
        column: Holds bytes, or structs of `bytes` and `path`.
        place: Which split of which dataset, for messages.
        decode: Decode every image to see that it can be; otherwise read its header only.

    Raises:
        TaskError: If an image is missing, does not decode, or has more than 50 megapixels.
    """
    images = []
    for encoded, where in _encoded_images(table[column], place):
        check_image(encoded, where, decode=decode)
        images.append(encoded)
    return tuple(images)


def check_image(encoded: bytes, where: str, *, decode: bool = True) -> None:
    """Check the size that an image's header states, then whether it decodes.

    Args:
        encoded: The bytes of a PNG, JPEG, BMP, GIF, WebP, TIFF or PPM file, of any mode.
        where: Its path or row, for messages.
        decode: Decode the pixels too.

    Raises:
        TaskError: If it does not decode, or has more than 50 megapixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # checked below
            with Image.open(io.BytesIO(encoded), formats=_IMAGE_FORMATS) as image:
                _refuse_huge(image.size, where)
                if decode:
                    image.draft("RGB", (64, 64))  # JPEG: as many bytes read, fewer pixels made
                    image.load()
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(where, str(error)) from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError) as error:
        is_image = not isinstance(error, UnidentifiedImageError)
        reason = str(error).replace("\n", " ") if is_image else "it is of no known format"
        raise TaskError(
            f"the image {where} does not decode: {reason}",
            "Replace it by a whole PNG or JPEG file, or remove it",
        ) from error


def _refuse_huge(size: tuple[int, int], where: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(where, f"{width} x {height}")


def _too_many_pixels(where: str, size: str) -> TaskError:
    return TaskError(
        f"the image {where} is too large ({size} pixels); "
        f"allowed are {MAX_PIXELS // 1_000_000} megapixels",
        "Scale it down, or remove it",
    )


def _encoded_images(column: pa.ChunkedArray, place: str) -> Iterator[tuple[bytes, str]]:
    """Give the bytes of each image, and what to call it in a message."""
    for number, cell in enumerate(column.to_pylist(), start=1):
        stored = cell if isinstance(cell, dict) else {"bytes": cell}
        encoded, path = stored.get("bytes"), stored.get("path")
        where = repr(path) if path else f"in row {number} of {place}"
        if not encoded:
            raise TaskError(
                f"the image {where} has no bytes", "Store the image itself, not its path"
            )
        yield encoded, where


def _as_texts(
    column: pa.ChunkedArray, name: str, place: str, cure: str = _NAME_IT
) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        raise _no_texts(name, place, f"holds numbers ({kind})", cure)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise _no_texts(name, place, f"holds values of type {kind}", cure)
    return column.cast(pa.large_string())


def _no_texts(column: str, place: str, what: str, cure: str) -> TaskError:
    return TaskError(f"the text column {column!r} of {place} {what}, not texts", cure)
