"""The benchmark of the cache, on a tiny model."""

from __future__ import annotations

import re

import benchmark_cache
import pytest
from benchmark_cache import Setting

from metaft.recipes import Recipe


@pytest.mark.parametrize("kind", ["classification", "image_classification"])
def test_it_measures_and_compares(
    tiny_text_backbone, tiny_image_backbone, tiny_task, kind: str
) -> None:
    backbone = tiny_text_backbone() if kind == "classification" else tiny_image_backbone()
    recipe = Recipe(epochs=1, frozen_fraction=0.5, precision="fp32", max_length=32, image_size=32)
    head = recipe.with_settings({"frozen_fraction": 1.0})
    setting = Setting(tiny_task(rows=16, kind=kind), backbone, recipe, head)
    figures = benchmark_cache._measure(setting, rounds=1)
    assert all(figure.cpu.median > 0 for figure in figures)
    half, head_only = benchmark_cache._differences(setting)
    for line in (half, head_only):
        (difference,) = re.findall(r"differ by at most (\S+) ", line)
        assert float(difference) < 1e-5  # in fp32 the states are kept as they are
