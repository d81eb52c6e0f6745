"""Floating-point operations of matrix products: what a model needs, and what a machine gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from metaft.backbones.backbone import Examples
from metaft.backbones.text import TextBackbone
from metaft.finetuning.model import Classifier

_PROBED_TOKENS = (8, 16, 24)
_SIDE = {"cpu": 2048, "cuda": 8192}
_PRODUCTS = {"cpu": 10, "cuda": 100}


def training_flops(model: Classifier, names: list[str]) -> Callable[[np.ndarray], float]:
    """Return a function: tokens of each row -> operations of one forward and backward pass.

    In an encoder they are a quadratic of a row's tokens, exactly: linear layers give the first
    power, attention the second, the head the constant. Three counts determine it.

    Args:
        model: In the state in which it trains (frozen blocks need fewer operations).
        names: Columns of its examples.
    """
    counts = [_count(model, names, tokens) for tokens in _PROBED_TOKENS]
    coefficients = np.polyfit(_PROBED_TOKENS, counts, deg=2)
    return lambda tokens: float(np.polyval(coefficients, tokens).sum())


def padded_lengths(backbone: TextBackbone, examples: Examples, rows: np.ndarray) -> np.ndarray:
    """Return the tokens that each row of a batch takes up, padding included."""
    tokens = backbone.collate(examples, rows)["input_ids"].shape[1]
    return np.full(len(rows), tokens)


def multiply(device: str, dtype: torch.dtype) -> Callable[[], float]:
    """Return an action: multiply large matrices, and return the operations that took."""
    side, products = _SIDE[device], _PRODUCTS[device]
    first = torch.randn(side, side, device=device).to(dtype)
    second = torch.randn(side, side, device=device).to(dtype)
    result = torch.empty_like(first)

    def action() -> float:
        for _ in range(products):
            torch.mm(first, second, out=result)
        return 2.0 * products * side**3

    action()  # The first call sets up threads and buffers.
    return action


def _count(model: Classifier, names: list[str], tokens: int) -> float:
    columns = {name: [np.zeros(tokens, dtype=np.int32)] for name in names}
    examples = Examples(columns=columns, lengths=np.array([tokens]))
    batch = model.backbone.collate(examples, np.array([0]))
    device = model.head.weight.device
    with FlopCounterMode(display=False) as counter:
        model({name: value.to(device) for name, value in batch.items()}).sum().backward()
    model.zero_grad(set_to_none=True)
    return float(counter.get_total_flops())
