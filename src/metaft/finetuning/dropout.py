"""Dropout for a CPU: torch's own spends most of its time on drawing its masks.

`torch.nn.functional.dropout` takes one Bernoulli draw after another on a CPU, 6 to 7 ns an
element, a tenth of a training step of MiniLM at 64 tokens. Here a draw is 16 bits of a long
random integer, and the rest is arithmetic on vectors: 1.2 ns in bf16 (docs/design.md).
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn import functional

from metaft.backbones.replacing import Replaced

_BITS = 15  # Of a draw that decide; the rate of dropping is exact to 2**-16.
_DRAWS_PER_INTEGER = 4
_INTEGER_OF = {
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}

_torch_dropout = functional.dropout


def quick_dropout(device: str) -> AbstractContextManager[object]:
    """Return the context in which dropout is quick; off a CPU torch's own stays."""
    return Replaced(_torch_dropout, dropout) if device == "cpu" else contextlib.nullcontext()


def dropout(given: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Do what `torch.nn.functional.dropout` does, with masks from torch's generator.

    Args:
        given: Of any shape.
        p: Chance of an element to become 0; the others are divided by the chance to stay.
        training: Whether anything is dropped.
        inplace: Write into `given`.
    """
    kept = round((1 - p) * 2**_BITS)
    is_ours = given.device.type == "cpu" and given.dtype in _INTEGER_OF
    if not training or not is_ours or not 0 < kept < 2**_BITS:
        return _torch_dropout(given, p, training, inplace)
    factors = _factors(given, kept)
    return given.mul_(factors) if inplace else given * factors


def _factors(given: Tensor, kept: int) -> Tensor:
    """Draw what each element is multiplied by: 0, or one over the chance to stay.

    A comparison would be clearer, but its answer has one byte and what it is needed in two or
    more: turning one into the other takes longer than all that is done here.
    """
    count = given.numel()
    integers = torch.empty(-(-count // _DRAWS_PER_INTEGER), dtype=torch.int64)
    integers.random_(-(2**63), None)  # By default the highest bit is always 0.
    draws = integers.view(torch.int16)[:count].bitwise_right_shift_(16 - _BITS)
    # Draws below the threshold become negative; their sign then fills all bits.
    stays = draws.sub_(kept - 2 ** (_BITS - 1)).bitwise_right_shift_(15)
    integer = _INTEGER_OF[given.dtype]
    factor = torch.tensor(2**_BITS / kept, dtype=given.dtype)
    masked = stays.to(integer).bitwise_and_(factor.view(integer))
    return masked.view(given.dtype).view(given.shape)
