"""Texts and images that a model may be given, and those it may not."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from metaft.errors import TaskError
from metaft.tasks.inputs import (
    MAX_ROW_BYTES,
    check_image,
    drop_empty_texts,
    read_images,
    read_texts,
    refuse_long_rows,
)


def _encoded(mode: str = "RGB", size: tuple[int, int] = (20, 10), form: str = "PNG") -> bytes:
    width, height = size
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(file, form)
    return file.getvalue()


def _png_header(width: int, height: int) -> bytes:
    """Build a PNG that claims a size and has hardly any pixels: a decompression bomb."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_rows_without_text_are_dropped_and_counted() -> None:
    table = pa.table(
        {"a": ["x", None, " \n", "y"], "b": ["p", "q", "r", ""], "label": [0, 1, 2, 3]}
    )
    kept, dropped = drop_empty_texts(table, ("a", "b"), "here")
    assert (kept["label"].to_pylist(), dropped) == ([0], 3)
    kept, dropped = drop_empty_texts(table, (), "here")
    assert kept is table
    assert dropped == 0


@pytest.mark.parametrize(
    "values", [pa.array(["a", "b"]).dictionary_encode(), pa.array(["a", "b"], pa.large_string())]
)
def test_texts_of_every_arrow_type(values: pa.Array) -> None:
    assert read_texts(pa.table({"text": values}), "text", "here") == ("a", "b")


def test_some_numbers_among_texts_are_texts() -> None:
    values = ["call 555 now", "12", "b", "3,5"]
    assert read_texts(pa.table({"text": values}), "text", "here") == tuple(values)


@pytest.mark.parametrize(
    "values",
    [
        [1, 2],
        [1.5, 2.5],
        ["1", "-2.5", "3e-4", " 12 ", "1,000.5", "7 %", ".5"],
        ["12"] * 19 + ["a"],
    ],
)
def test_a_text_column_of_numbers_is_refused(values: list[object]) -> None:
    with pytest.raises(TaskError, match=r"column 'text' of here holds numbers .*--text-column"):
        read_texts(pa.table({"text": values}), "text", "here")


def test_a_text_column_of_lists_is_refused() -> None:
    with pytest.raises(TaskError, match="holds values of type list"):
        read_texts(pa.table({"text": [["a"], ["b"]]}), "text", "here")


def test_a_row_of_more_than_one_mebibyte_is_refused() -> None:
    half = "é" * (MAX_ROW_BYTES // 4)  # two bytes each
    refuse_long_rows(pa.table({"a": ["x", half], "b": ["y", half]}), ("a", "b"), "here")
    with pytest.raises(TaskError, match=r"row 2 of here has 1,048,577 bytes .* 1,048,576"):
        refuse_long_rows(pa.table({"a": ["x", half], "b": ["y", half + "z"]}), ("a", "b"), "here")


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "LA", "I;16"])
def test_every_mode_is_taken(mode: str) -> None:
    if mode == "I;16":
        grey = Image.fromarray(np.arange(200, dtype=np.uint16).reshape(10, 20) * 300)
        file = io.BytesIO()
        grey.save(file, "PNG")
        check_image(file.getvalue(), "here")
    else:
        check_image(_encoded(mode), "here")


@pytest.mark.parametrize("form", ["JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_every_format_is_taken(form: str) -> None:
    check_image(_encoded(form=form), "here")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "WEBP"])
def test_a_truncated_image_is_refused(form: str) -> None:
    whole = _encoded(size=(200, 200), form=form)
    with pytest.raises(TaskError, match="the image here does not decode"):
        check_image(whole[: len(whole) // 2], "here")


@pytest.mark.parametrize(
    "encoded",
    [b"no image at all", _encoded(form="EPS"), b"\x00" * 99],
    ids=["text", "eps", "zeros"],
)
def test_what_is_no_image_is_refused(encoded: bytes) -> None:
    """EPS among it: decoding that would run Ghostscript on the user's file."""
    with pytest.raises(TaskError, match="does not decode"):
        check_image(encoded, "here", decode=False)


@pytest.mark.parametrize("size", [(7072, 7072), (50_000_001, 1), (20_000, 20_000)])
def test_an_image_over_50_megapixels_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(TaskError, match=r"here is too large .* allowed are 50 megapixels"):
        check_image(_png_header(*size), "here")


def test_an_image_of_50_megapixels_is_not_too_large() -> None:
    check_image(_png_header(10_000, 5_000), "here", decode=False)


def test_images_are_read_from_bytes_and_structs() -> None:
    png = _encoded()
    assert read_images(pa.table({"i": [png, png]}), "i", "here", decode=True) == (png, png)
    table = pa.table({"i": [{"bytes": png, "path": "a.png"}]})
    assert read_images(table, "i", "here", decode=True) == (png,)


def test_a_wrong_image_is_named_by_path_or_row() -> None:
    table = pa.table(
        {"i": [{"bytes": _encoded(), "path": ""}, {"bytes": b"x", "path": "cats/7.png"}]}
    )
    with pytest.raises(TaskError, match=r"the image 'cats/7.png' does not decode"):
        read_images(table, "i", "here", decode=True)
    with pytest.raises(TaskError, match="the image in row 2 of here does not decode"):
        read_images(pa.table({"i": [_encoded(), b"x"]}), "i", "here", decode=True)
    with pytest.raises(TaskError, match=r"'a.png' has no bytes"):
        read_images(pa.table({"i": [{"bytes": None, "path": "a.png"}]}), "i", "here", decode=True)
