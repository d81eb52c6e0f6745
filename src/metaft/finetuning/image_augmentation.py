"""Changing images: crop, flip, rotation, jitter, noise, erasing, and mixing two of them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from metaft.backbones.backbone import Examples
from metaft.finetuning.augmentation import CHANCE, Mixing, generator_of
from metaft.recipes import Recipe

MOST_DEGREES = 90.0
"""Rotation at strength 1, either way."""

LEAST_AREA = 0.1
"""Share of the area that a crop leaves, at strength 1."""

MOST_NOISE = 0.5
"""Standard deviation of the noise at strength 1, in shares of the range."""

MIXING_ALPHA = 0.4
"""Of the beta distribution that mixup draws its share from; cutmix draws it uniformly.

Source: Zhang et al. (2018), mixup; Yun et al. (2019), CutMix.
"""

_MIXING = ("mixup", "cutmix")
_OF_A_BATCH = 2**31  # Added to a row's number, so that its batch draws other numbers than it.


class ImageAugmenter:
    """Changes the pixels of the training rows; see `Augmenter`."""

    def __init__(self, examples: Examples, recipe: Recipe) -> None:
        self._recipe = recipe
        self._pixels = torch.as_tensor(examples.columns["pixels"])  # uint8 (rows, 3, side, side)
        self._methods = [name for name in recipe.augmentations if name not in _MIXING]
        self._mixing = [name for name in recipe.augmentations if name in _MIXING]

    @property
    def added(self) -> Examples:
        """Images have no vocabulary."""
        return Examples({}, np.zeros(0, dtype=np.int64))

    def vary(self, rows: np.ndarray, epoch: int) -> Examples:
        """Return some rows as they are in an epoch."""
        changed = torch.stack([self.change(int(row), epoch) for row in rows])
        return Examples({"pixels": changed}, np.ones(len(rows), dtype=np.int64))

    def change(self, row: int, epoch: int) -> Tensor:
        """Return the pixels `(3, side, side)` of a row in an epoch, before any mixing."""
        image, rng = self._pixels[row], generator_of(self._recipe, epoch, row)
        for name in self._methods:
            if rng.random() < CHANCE:
                image = _METHODS[name](image, self._recipe.augmentation_strength, rng)
        return image

    def mix(self, rows: np.ndarray, epoch: int) -> Mixing | None:
        """Mix each row of a batch with the one before it, half of the time."""
        if not self._mixing or len(rows) < 2:
            return None
        rng = generator_of(self._recipe, epoch, _OF_A_BATCH + int(rows[0]))
        if rng.random() >= CHANCE:
            return None
        name = self._mixing[int(rng.integers(len(self._mixing)))]
        partner = np.roll(np.arange(len(rows)), 1)
        if name == "mixup":
            return Mixing(partner, float(rng.beta(MIXING_ALPHA, MIXING_ALPHA)), box=None)
        side = self._pixels.shape[-1]
        box = _draw_box(rng.random(), side, rng)
        area = (box[1] - box[0]) * (box[3] - box[2])
        return Mixing(partner, 1 - area / side**2, box)


def _draw_box(area: float, side: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw a square of a share of the area: `(top, bottom, left, right)`."""
    length = max(1, min(side, round(side * math.sqrt(area))))
    top, left = (int(rng.integers(side - length + 1)) for _ in range(2))
    return top, top + length, left, left + length


def _crop(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Cut a square out and resize it to the whole."""
    from torchvision.transforms.v2 import functional

    side = image.shape[-1]
    lowest = 1 - strength * (1 - LEAST_AREA)
    top, bottom, left, right = _draw_box(rng.uniform(lowest, 1), side, rng)
    return functional.resized_crop(
        image, top, left, bottom - top, right - left, [side, side], antialias=True
    )


def _flip(image: Tensor, _: float, __: np.random.Generator) -> Tensor:
    """Mirror left and right."""
    from torchvision.transforms.v2 import functional

    return functional.horizontal_flip(image)


def _rotation(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Turn it; the corners that come in have the image's mean colour."""
    from torchvision.transforms.v2 import InterpolationMode, functional

    degrees = rng.uniform(-1, 1) * strength * MOST_DEGREES
    mean = image.float().mean((1, 2)).tolist()
    return functional.rotate(image, degrees, InterpolationMode.BILINEAR, fill=mean)


def _jitter(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Change brightness, contrast and saturation."""
    from torchvision.transforms.v2 import functional

    for adjust in (
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
    ):
        image = adjust(image, rng.uniform(1 - strength, 1 + strength))
    return image


def _noise(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Add Gaussian noise to every number."""
    deviation = 255 * MOST_NOISE * strength
    noise = rng.standard_normal(image.shape, dtype=np.float32) * deviation
    return (image + torch.from_numpy(noise)).round_().clamp_(0, 255).to(torch.uint8)


def _erasing(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Paint a square over with noise.

    Source: Zhong et al. (2020), Random Erasing Data Augmentation.
    """
    from torchvision.transforms.v2 import functional

    top, bottom, left, right = _draw_box(rng.uniform(0, strength), image.shape[-1], rng)
    shape = (3, bottom - top, right - left)
    paint = torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))
    return functional.erase(image, top, left, bottom - top, right - left, paint)


_METHODS = {
    "crop": _crop,
    "flip": _flip,
    "rotation": _rotation,
    "jitter": _jitter,
    "noise": _noise,
    "erasing": _erasing,
}
