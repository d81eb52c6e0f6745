"""The benchmark of convolutions, on a tiny model."""

from __future__ import annotations

import benchmark_convolutions
import pytest
import torch

from metaft.backbones import image
from metaft.recipes import Recipe


def test_it_measures_each_way(tiny_image_backbone, tiny_task) -> None:
    recipe = Recipe(epochs=2, precision="bf16", image_size=32)
    task = tiny_task(rows=16, kind="image_classification")
    figures = benchmark_convolutions.measure(task, tiny_image_backbone(), recipe)
    assert len(figures) == 4
    assert all(figure.cpu.median > 0 for figure in figures)


@pytest.mark.parametrize(
    ("way", "is_last"), [*zip(benchmark_convolutions.WAYS, (False, True, True), strict=True)]
)
def test_a_way_is_undone_afterwards(way: str, is_last: bool) -> None:
    pixels = torch.zeros(2, 3, 4, 4)
    with benchmark_convolutions._computing(way):
        laid_out = image._laid_out(pixels)
        assert laid_out.is_contiguous(memory_format=torch.channels_last) == is_last
    assert image._laid_out(pixels).is_contiguous(memory_format=torch.channels_last)
