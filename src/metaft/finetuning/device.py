"""Where a run computes and in which arithmetic."""

from __future__ import annotations

import contextlib
import functools
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from metaft.errors import RecipeError
from metaft.recipes import Precision

Device = Literal["auto", "cpu", "cuda"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Compute:
    """A resolved device and precision.

    Attributes:
        device: `cpu` or `cuda`.
        precision: `fp32`, `bf16` or `fp16`; no longer `auto`.
    """

    device: str
    precision: str

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context that forward passes run in."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device, dtype=_DTYPES[self.precision])


def resolve_compute(device: Device, precision: Precision) -> Compute:
    """Settle `auto` and refuse what the machine cannot do.

    Raises:
        RecipeError: For `cuda` without a GPU, or fp16 on a CPU.
    """
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise RecipeError("device is 'cuda', but torch finds no GPU", "Use --device cpu or auto")
    where = "cuda" if has_gpu and device != "cpu" else "cpu"
    if precision == "fp16" and where == "cpu":
        raise RecipeError(
            "precision is 'fp16', which needs a GPU; this run is on the CPU",
            "Set precision to bf16, fp32 or auto",
        )
    if precision == "auto":
        precision = "bf16" if _is_fast_at_bf16(where) else "fp32"
    return Compute(device=where, precision=precision)


def _is_fast_at_bf16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool({"avx512_bf16", "amx_bf16"} & _cpu_flags())


@functools.cache
def _cpu_flags() -> frozenset[str]:
    """Read the CPU's flags; without bf16 instructions bf16 is slower than fp32."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())
