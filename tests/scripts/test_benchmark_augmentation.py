"""The benchmark of augmentation, on a tiny model."""

from __future__ import annotations

import benchmark_augmentation
import pytest

from metaft.recipes import Recipe


@pytest.mark.parametrize("kind", ["classification", "image_classification"])
def test_it_measures_every_method(
    tiny_text_backbone, tiny_image_backbone, tiny_task, kind: str
) -> None:
    backbone = tiny_text_backbone() if kind == "classification" else tiny_image_backbone()
    recipe = Recipe(epochs=2, precision="fp32", max_length=32, image_size=32)
    figures = benchmark_augmentation.measure(tiny_task(rows=16, kind=kind), backbone, recipe)
    assert all(figure.cpu.median > 0 for figure in figures)
    (judged,) = [figure for figure in figures if figure.goal]
    assert judged.what.startswith("together")
    assert judged.goal == pytest.approx(1 / 1.05 if kind == "classification" else 1 / 1.1)
    shares = [figure for figure in figures if "share" in figure.what]
    assert [0 < figure.cpu.median < 1 for figure in shares] == [True]
