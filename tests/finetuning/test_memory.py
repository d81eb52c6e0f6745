from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from metaft.finetuning.memory import (
    is_out_of_memory,
    peak_memory_mib,
    release_memory,
    reset_peak_memory,
)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak")
def test_the_peak_is_that_of_the_run_alone() -> None:
    large = np.ones(40 << 20)  # 320 MiB, before the run.
    del large
    before = reset_peak_memory("cpu")
    assert before == pytest.approx(peak_memory_mib("cpu"), abs=5)
    block = np.ones(8 << 20)  # 64 MiB, within the run.
    assert 50 < peak_memory_mib("cpu") - before < 120
    del block


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told to give memory back")
def test_what_was_freed_is_given_back() -> None:
    """Freed blocks below one that is still in use stay with the process until it is told."""
    blocks = [bytearray(64 << 10) for _ in range(1600)]  # 100 MiB on the heap
    kept = blocks[-1]
    held = reset_peak_memory("cpu")
    del blocks
    release_memory()
    after = reset_peak_memory("cpu")
    assert held is not None
    assert after is not None
    assert after < held - 70
    del kept


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("shapes do not fit"), False),
    ],
)
def test_want_of_memory_is_told_from_other_errors(error: Exception, is_so: bool) -> None:
    assert is_out_of_memory(error) is is_so
