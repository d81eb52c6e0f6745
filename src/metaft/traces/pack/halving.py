"""Weights in half precision, where that is safe."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Round matrices and filters to half precision.

    Biases, norms and running statistics stay as they are: they are few, and a running
    variance may lie beyond the range of half precision. So does a matrix with such a number.

    Args:
        weights: Name -> tensor.

    Returns:
        Name -> tensor, contiguous and on the CPU.
    """
    return {name: _halved(tensor.detach().cpu()).contiguous() for name, tensor in weights.items()}


def _halved(tensor: Tensor) -> Tensor:
    if tensor.ndim < 2 or not tensor.is_floating_point():
        return tensor
    half = tensor.to(torch.float16)
    return half if bool(half.isfinite().all()) else tensor
