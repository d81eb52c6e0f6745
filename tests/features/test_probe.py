from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from metaft.features.probe import LAYERS, cross_validated_ridge, probe
from metaft.tasks.task import Split


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(6, 30),
    width=st.integers(1, 40),
    penalty=st.floats(0.01, 100),
)
def test_folds_agree_with_refitting(seed: int, rows: int, width: int, penalty: float) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, width))
    features -= features.mean(0)
    targets = rng.normal(size=(rows, 2))
    fold_of = np.arange(rows) % 3
    predictions = cross_validated_ridge(features @ features.T, targets, fold_of, penalty)
    for fold in range(3):
        held = fold_of == fold
        refitted = Ridge(alpha=penalty).fit(features[~held], targets[~held])
        np.testing.assert_allclose(predictions[held], refitted.predict(features[held]), atol=1e-8)


def test_separable_words_are_found(tiny_task, tiny_text_backbone) -> None:
    task = tiny_task(rows=120, classes=3)
    scores = probe(task, tiny_text_backbone())
    assert scores["probe_words"] == 1.0
    assert scores["probe_best"] == max(scores[name] for name in LAYERS)
    assert scores["probe_above_guess"] == pytest.approx((scores["probe_best"] - 1 / 3) / (2 / 3))


def test_noise_scores_near_guessing(tiny_task, tiny_text_backbone) -> None:
    task = tiny_task(rows=400, classes=2)
    labels = np.random.default_rng(1).integers(0, 2, 400)
    noise = task.replaced(train=Split(labels=labels, texts=task.train.texts))
    scores = probe(noise, tiny_text_backbone())
    assert abs(scores["probe_best"] - 0.5) < 0.12


def test_validation_and_test_rows_are_not_looked_at(tiny_task, tiny_text_backbone) -> None:
    task, other = tiny_task(rows=60), tiny_task(rows=60, seed=5)
    swapped = task.replaced(validation=other.validation, test=other.test)
    backbone = tiny_text_backbone()
    assert probe(task, backbone) == probe(swapped, backbone)


def test_every_depth_gives_the_same_five_layers(tiny_task, tiny_text_backbone) -> None:
    task = tiny_task(rows=40)
    for depth in (1, 3):
        assert set(LAYERS) <= set(probe(task, tiny_text_backbone(depth=depth)))


def test_regression_scores_are_correlations(tiny_task, tiny_text_backbone) -> None:
    scores = probe(tiny_task(rows=120, kind="regression"), tiny_text_backbone())
    assert 0.5 < scores["probe_words"] <= 1.0
    assert scores["probe_above_guess"] == pytest.approx(scores["probe_best"])


def test_images_have_no_words(tiny_task, tiny_image_backbone) -> None:
    scores = probe(tiny_task(rows=40, kind="image_classification"), tiny_image_backbone())
    assert "probe_words" not in scores
    assert 0 <= scores["probe_100"] <= 1


def test_too_few_rows_tell_nothing(tiny_task, tiny_text_backbone) -> None:
    assert probe(tiny_task(rows=2), tiny_text_backbone()) == {}
    assert probe(tiny_task(rows=4), tiny_text_backbone())


def test_words_are_the_rows_where_they_have_tags(tiny_task, tiny_text_backbone) -> None:
    found = probe(tiny_task(rows=60, kind="ner"), tiny_text_backbone(width=64))
    guess = 1 - 1 / 8  # seven of the eight words of a row are outside
    assert found["probe_best"] > guess + 0.05
    assert found["probe_words"] > guess + 0.05
    task = tiny_task(rows=60, kind="ner")
    rng = np.random.default_rng(0)
    tags = tuple(rng.permutation(row) for row in task.train.tags or ())
    train = dataclasses.replace(task.train, tags=tags)
    shuffled = probe(task.replaced(train=train), tiny_text_backbone(width=64))
    assert shuffled["probe_best"] < guess + 0.03


def test_questions_have_no_classes_to_probe(tiny_task, tiny_text_backbone) -> None:
    assert probe(tiny_task(kind="qa"), tiny_text_backbone()) == {}
