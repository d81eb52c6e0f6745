from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from metaft.backbones.image_files import decode_images
from metaft.errors import TaskError

sides = st.integers(1, 60)


@given(height=sides, width=sides, side=st.integers(16, 64))
def test_pixels_are_those_of_timm(
    png: Callable[..., bytes], height: int, width: int, side: int
) -> None:
    if max(height, width) > 4 * min(height, width):
        height = width  # longer strips are cut first, and differ by a rounding
    encoded = png(height, width)
    transform = timm.data.create_transform(
        input_size=(3, side, side),
        mean=(0, 0, 0),
        std=(1, 1, 1),
        interpolation="bicubic",
        crop_pct=1.0,
        crop_mode="center",
    )
    expected = (transform(Image.open(io.BytesIO(encoded))) * 255).round().to(torch.uint8)
    assert torch.equal(decode_images([encoded], side, "bicubic")[0], expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_becomes_rgb(png: Callable[..., bytes], mode: str) -> None:
    pixels = decode_images([png(mode=mode), png()], 16, "bilinear")
    assert (pixels.shape, pixels.dtype) == ((2, 3, 16, 16), torch.uint8)
    assert pixels[0].float().std() > 10


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    ramp = np.repeat(np.linspace(0, 65535, 16, dtype=np.uint16)[None], 16, axis=0)
    file = io.BytesIO()
    Image.fromarray(ramp).save(file, format="PNG")
    row = decode_images([file.getvalue()], 16, "bilinear")[0, 0, 0]
    assert row.tolist() == [value >> 8 for value in ramp[0].tolist()]


def test_a_transparent_palette_converts_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    file = io.BytesIO()
    Image.new("P", (8, 8)).save(file, format="PNG", transparency=b"\x00" * 8)
    assert decode_images([file.getvalue()], 16, "bilinear").shape == (1, 3, 16, 16)
    assert not recwarn.list


def test_a_long_strip_gives_its_middle_in_little_memory() -> None:
    strip = np.zeros((1, 200_000, 3), dtype=np.uint8)  # resized whole: 16 x 3,200,000
    strip[:, 99_000:101_000] = 200
    file = io.BytesIO()
    Image.fromarray(strip).save(file, format="PNG")
    assert decode_images([file.getvalue()], 16, "bilinear").unique().tolist() == [200]


@pytest.mark.parametrize("broken", [b"", b"not an image", b"\x89PNG\r\n\x1a\n broken"])
def test_an_image_that_does_not_decode_is_named_by_its_row(
    png: Callable[..., bytes], broken: bytes
) -> None:
    with pytest.raises(TaskError, match=r"the image of row 1 \(\d+ bytes\) does not decode"):
        decode_images([png(), broken], 16, "bilinear")


def test_a_truncated_image_is_refused(png: Callable[..., bytes]) -> None:
    with pytest.raises(TaskError, match="row 0"):
        decode_images([png()[:-300]], 16, "bilinear")
