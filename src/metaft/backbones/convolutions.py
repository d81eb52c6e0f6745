"""Convolutions on a CPU: those that are slow in bf16 there are computed in float32.

A depthwise convolution that skips positions (stride over 1) or looks beyond its neighbours (a
kernel over 3 x 3) has no fast backward pass in bf16 on a CPU: the four of MobileNetV2 took 64 of
the 91 ms that all convolutions of a step of 8 images took backward (docs/design.md).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from metaft.backbones.replacing import Replaced


def quick_convolutions(device: str) -> AbstractContextManager[object]:
    """Return the context in which convolutions are quick; off a CPU torch's own stay.

    Without autocast nothing changes either: the arithmetic is then the caller's choice.
    """
    if device == "cpu" and torch.is_autocast_enabled("cpu"):
        return Replaced(torch.conv2d, _convolve)
    return contextlib.nullcontext()


def _convolve(  # noqa: PLR0917 - these are the arguments of torch.conv2d
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Any = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Do what `torch.conv2d` does, in float32 where bf16 is slow."""
    others = (weight, bias, stride, padding, dilation, groups)
    is_depthwise = 1 < groups == input.shape[1] == len(weight)
    largest_stride = stride if isinstance(stride, int) else max(stride)
    if not is_depthwise or (largest_stride == 1 and max(weight.shape[2:]) <= 3):
        return torch.conv2d(input, *others)
    with torch.autocast("cpu", enabled=False):
        return torch.conv2d(input.float(), *others)
