from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from metaft.backbones.convolutions import quick_convolutions

SLOW = [{"stride": 2, "groups": 8}, {"kernel_size": 5, "groups": 8}]


def _layer(kernel_size: int = 3, **settings: Any) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(8, 8, kernel_size, **settings)


def _convolve(given: Tensor, quick: bool = True, **settings: Any) -> Tensor:
    layer = _layer(**settings)
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        quick_convolutions("cpu") if quick else contextlib.nullcontext(),
    ):
        return layer(given)


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("settings", SLOW, ids=str)
def test_slow_depthwise_convolutions_are_computed_in_float32(
    pixels: Tensor, settings: dict[str, Any]
) -> None:
    found = _convolve(pixels.bfloat16(), **settings)
    assert found.dtype == torch.float32
    assert torch.equal(found, _layer(**settings)(pixels.bfloat16().float()))


@pytest.mark.parametrize(
    "settings", [{"groups": 8}, {"stride": 2}, {"stride": 2, "groups": 4}], ids=str
)
def test_other_convolutions_stay_as_autocast_makes_them(
    pixels: Tensor, settings: dict[str, Any]
) -> None:
    found = _convolve(pixels, **settings)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, _convolve(pixels, quick=False, **settings))


def test_gradients_are_those_of_float32(pixels: Tensor) -> None:
    weight = torch.randn(8, 1, 3, 3, generator=torch.Generator().manual_seed(2))
    gradients = []
    for is_quick in (True, False):
        leaf = weight.clone().requires_grad_()
        with (
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_quick),
            quick_convolutions("cpu"),
        ):
            found = functional.conv2d(pixels, leaf, None, (2, 1), 1, 1, 8)
        found.square().sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)


def test_arguments_may_be_named(pixels: Tensor) -> None:
    weight = torch.ones(8, 1, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16), quick_convolutions("cpu"):
        found = functional.conv2d(input=pixels, weight=weight, stride=2, groups=8)
    assert found.dtype == torch.float32


def test_nothing_changes_without_autocast_or_off_the_cpu(pixels: Tensor) -> None:
    double = pixels.double()
    with quick_convolutions("cpu"):
        found = functional.conv2d(double, torch.ones(8, 1, 3, 3).double(), stride=2, groups=8)
    assert found.dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert isinstance(quick_convolutions("cuda"), contextlib.nullcontext)
