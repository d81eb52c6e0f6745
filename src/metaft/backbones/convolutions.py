"""Convolutions on a CPU: those that are slow in bf16 there are computed in float32.

A depthwise convolution that skips positions (stride over 1) or looks beyond its neighbours (a
kernel over 3 x 3) has no fast backward pass in bf16 on a CPU: the four of MobileNetV2 took 64 of
the 91 ms that all convolutions of a step of 8 images took backward (docs/design.md).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
"""The arguments of `torch.conv2d`, in their order."""


def quick_convolutions(device: str) -> AbstractContextManager[object]:
    """Return the context in which convolutions are quick; off a CPU torch's own stay.

    Without autocast nothing changes either: the arithmetic is then the caller's choice.
    """
    if device == "cpu" and torch.is_autocast_enabled("cpu"):
        return _SlowDepthwiseInFull()
    return contextlib.nullcontext()


class _SlowDepthwiseInFull(TorchFunctionMode):
    """Sees every convolution in this thread, by a module or by a model's own code."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.conv2d:
            given = {**dict(zip(_NAMES, args, strict=False)), **(kwargs or {})}
            if _is_slow_in_bf16(given):
                with torch.autocast("cpu", enabled=False):
                    return func(**{**given, "input": given["input"].float()})
        return func(*args, **(kwargs or {}))


def _is_slow_in_bf16(given: Mapping[str, Any]) -> bool:
    weight, stride, groups = given["weight"], given.get("stride", 1), given.get("groups", 1)
    if not 1 < groups == given["input"].shape[1] == len(weight):
        return False
    largest_stride = stride if isinstance(stride, int) else max(stride)
    return largest_stride > 1 or max(weight.shape[2:]) > 3
