from __future__ import annotations

import math

import numpy as np
import pytest

from metaft.augmenting.measures import _Bench, distinct, measure_effects, self_bleu
from metaft.augmenting.versions import TOGETHER, Varied
from metaft.errors import RecipeError
from metaft.recipes import Recipe


def test_self_bleu_is_one_for_copies_and_small_for_strangers() -> None:
    row = list(range(12))
    assert self_bleu([row, row, row]) == pytest.approx(1.0)
    one_changed = [row, [*row[:5], 99, *row[6:]]]
    assert 0.4 < self_bleu(one_changed) < 0.9
    assert self_bleu([row, list(range(50, 62))]) < 0.05
    assert self_bleu([row, row[:6]]) < self_bleu([row, row[:11]])  # What is missing counts.


def test_distinct_counts_ngrams() -> None:
    assert distinct([[1, 2, 1, 2]], 1) == 0.5
    assert distinct([[1, 2, 1, 2]], 2) == pytest.approx(2 / 3)
    assert math.isnan(distinct([], 1))


def test_methods_of_texts_are_measured(tiny_text_backbone, tiny_task) -> None:
    recipe = Recipe(augmentation="swap+deletion", augmentation_strength=0.4, max_length=32)
    varied = Varied.prepare(tiny_task(rows=40), tiny_text_backbone(width=32), recipe)
    done: list[str] = []
    effects = {e.method: e for e in measure_effects(varied, on_method=done.append)}
    assert done == ["swap", "deletion", TOGETHER]
    assert list(effects) == ["none", *done]
    plain = effects["none"]
    assert (plain.changed, plain.self_bleu, plain.label_kept) == (0.0, 1.0, 1.0)
    assert 0.3 < effects["swap"].changed < 0.7
    assert effects["swap"].distinct_1 == pytest.approx(plain.distinct_1)
    assert effects["swap"].distinct_2 > plain.distinct_2
    assert effects[TOGETHER].self_bleu < effects["swap"].self_bleu < 1.0
    assert all(0.0 < e.embedding_cosine <= 1.0 for e in effects.values())
    assert all(0.5 <= e.label_kept <= 1.0 for e in effects.values())
    assert all(math.isnan(e.pixel_distance) for e in effects.values())


def test_the_judge_of_labels_has_seen_all_classes_of_sorted_rows(
    tiny_text_backbone, tiny_task
) -> None:
    task = tiny_task(rows=41)
    task = task.replaced(train=task.train.take(np.argsort(task.train.labels, kind="stable")))
    recipe = Recipe(augmentation="deletion", max_length=32)
    varied = Varied.prepare(task, tiny_text_backbone(width=32), recipe)
    bench = _Bench(varied, "cpu", None)
    fitted = task.train.labels[bench.is_fitted]
    assert np.bincount(fitted).tolist() == [10, 10]
    assert bench.judge is not None
    assert set(bench.judge(bench.features).argmax(1).tolist()) == {0, 1}
    (_, effect) = measure_effects(varied)
    assert 0.0 <= effect.label_kept <= 1.0


def test_methods_of_images_are_measured(tiny_image_backbone, tiny_task) -> None:
    recipe = Recipe(augmentation="noise+mixup", image_size=32)
    task = tiny_task(rows=96, kind="image_classification")
    varied = Varied.prepare(task, tiny_image_backbone(), recipe)
    effects = {e.method: e for e in measure_effects(varied)}
    assert effects["none"].pixel_distance == 0.0
    assert 0.02 < effects["noise"].pixel_distance < 0.06  # Deviation 0.05: mean 0.04.
    assert 0.0 < effects["mixup"].changed < 1.0
    assert math.isnan(effects["noise"].self_bleu)


def test_a_regression_has_no_labels_to_keep(tiny_text_backbone, tiny_task) -> None:
    recipe = Recipe(augmentation="deletion", max_length=32)
    varied = Varied.prepare(tiny_task(rows=16, kind="regression"), tiny_text_backbone(), recipe)
    assert all(math.isnan(e.label_kept) for e in measure_effects(varied))


def test_nothing_to_show_is_refused(tiny_text_backbone, tiny_task) -> None:
    with pytest.raises(RecipeError, match="nothing to show"):
        Varied.prepare(tiny_task(), tiny_text_backbone(), Recipe())
    with pytest.raises(RecipeError, match="allowed there are synonyms"):
        Varied.prepare(tiny_task(), tiny_text_backbone(), Recipe(augmentation="flip"))
