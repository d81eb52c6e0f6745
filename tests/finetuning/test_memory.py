from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from metaft.finetuning.memory import is_out_of_memory, peak_memory_mib, reset_peak_memory


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak")
def test_the_peak_is_that_of_the_run_alone() -> None:
    large = np.ones(40 << 20)  # 320 MiB, before the run.
    del large
    reset_peak_memory("cpu")
    before = peak_memory_mib("cpu")
    block = np.ones(8 << 20)  # 64 MiB, within the run.
    assert 50 < peak_memory_mib("cpu") - before < 120
    del block


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
