"""Peak memory of one run, also in a process that has done others before, and want of memory."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_MIB = 1 << 20


def release_memory() -> None:
    """Give back what earlier runs of this process have freed but the allocator still keeps.

    Without it a worker grows from one run to the next, to twice its size in a day, and the
    peak of a run says more of the runs before it than of itself.
    """
    gc.collect()
    if sys.platform == "linux":
        # Only glibc has it; with another C library there is nothing to be done.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def reset_peak_memory(device: str) -> float | None:
    """Start a new measurement of peak memory.

    Returns:
        What is held now, in MiB; None where the peak cannot be set back and so stays that of
        the whole process.
    """
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return peak_memory_mib(device)
    try:
        _CLEAR_REFS.write_text("5")  # Linux: sets the peak resident size back to the current.
    except OSError:
        return None
    return peak_memory_mib(device)


def peak_memory_mib(device: str) -> float:
    """Return the peak since the last reset in MiB: resident on a CPU, allocated on a GPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / _MIB
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MIB if sys.platform == "darwin" else peak / 1024


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The CPU allocator raises a plain RuntimeError.
    return "can't allocate memory" in str(error) or "out of memory" in str(error)
