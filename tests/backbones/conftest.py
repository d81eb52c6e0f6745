"""Encoded images of any shape and mode."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """Return a function that encodes noise of `(height, width)` pixels as PNG."""

    def encode(height: int = 20, width: int = 30, *, mode: str = "RGB", seed: int = 0) -> bytes:
        noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(noise).convert(mode).save(file, format="PNG")
        return file.getvalue()

    return encode
