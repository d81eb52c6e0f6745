from __future__ import annotations

import torch

from metaft.traces.pack.halving import halved


def test_matrices_are_halved_and_the_rest_stays() -> None:
    weights = {
        "matrix": torch.full((2, 2), 1 / 3),
        "bias": torch.full((2,), 1 / 3),
        "variance": torch.tensor([1e6]),
        "huge": torch.full((2, 2), 1e6),
        "positions": torch.arange(4).view(1, 4),
    }
    found = halved(weights)
    assert found["matrix"].dtype == torch.float16
    for name in ("bias", "variance", "huge", "positions"):
        assert torch.equal(found[name], weights[name])
        assert found[name].dtype == weights[name].dtype
