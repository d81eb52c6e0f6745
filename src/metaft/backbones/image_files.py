"""Decoding images: any mode and size to one square tensor of 8-bit RGB."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from metaft.errors import TaskError

# A longer strip is cut to this many squares before it is resized: its shorter side may grow
# a hundredfold, and only the middle is kept anyway.
_MAX_ASPECT = 4


def decode_images(images: Sequence[bytes], side: int, interpolation: str) -> Tensor:
    """Decode images once, so that no epoch decodes them again.

    The shorter side is resized to `side` and the middle square is cut out, pixel for pixel as
    timm does with `crop_mode="center", crop_pct=1.0`: proportions stay as they were trained.

    Args:
        images: Encoded bytes (PNG, JPEG ...), of any mode.
        side: Pixels per side of the result.
        interpolation: `bilinear`, `bicubic`, or another filter's name in Pillow.

    Returns:
        uint8 `(rows, 3, side, side)`.

    Raises:
        TaskError: If an image does not decode, naming its row.
    """
    resampling = Image.Resampling[interpolation.upper()]
    pixels = torch.empty((len(images), 3, side, side), dtype=torch.uint8)
    for row, encoded in enumerate(images):
        image = _middle_square(_decode(encoded, row), side, resampling)
        pixels[row] = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return pixels


def _middle_square(image: Image.Image, side: int, resampling: Image.Resampling) -> Image.Image:
    limit = _MAX_ASPECT * min(image.size)
    image = _cut_middle(image, min(image.width, limit), min(image.height, limit))
    short = min(image.size)
    width, height = (side * length // short for length in image.size)
    return _cut_middle(image.resize((width, height), resampling), side, side)


def _cut_middle(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _decode(encoded: bytes, row: int) -> Image.Image:
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return _as_rgb(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise TaskError(
            f"the image of row {row} ({len(encoded)} bytes) does not decode: {error}",
            "Replace it by a PNG or JPEG file, or leave the row out",
        ) from error


def _as_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB; 16-bit grey is scaled, where Pillow alone would clip it."""
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # Pillow warns when it goes straight.
    return image.convert("RGB")
