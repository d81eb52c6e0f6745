from __future__ import annotations

import pytest
import torch

from metaft.errors import RecipeError
from metaft.finetuning import device
from metaft.finetuning.device import resolve_compute


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(RecipeError, match="finds no GPU"):
        resolve_compute("cuda", "fp32")


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(RecipeError, match="needs a GPU"):
        resolve_compute("cpu", "fp16")


@pytest.mark.parametrize(
    ("flags", "expected"), [({"avx512_bf16"}, "bf16"), ({"amx_bf16"}, "bf16"), ({"avx2"}, "fp32")]
)
def test_auto_takes_bf16_where_the_cpu_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], expected: str
) -> None:
    monkeypatch.setattr(device, "_cpu_flags", lambda: frozenset(flags))
    assert resolve_compute("cpu", "auto").precision == expected
