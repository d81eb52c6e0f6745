from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from metaft.errors import TaskError
from metaft.features import extract
from metaft.features.extract import FEATURES, MEANINGS, extract_features
from metaft.tasks.task import Split


def test_length_is_fixed_and_unknown_is_nan(tiny_task, tiny_text_backbone) -> None:
    for kind in ("classification", "pair_classification", "regression"):
        features = extract_features(tiny_task(kind=kind), tiny_text_backbone(), train_rows=32)
        assert tuple(features) == FEATURES
    assert math.isnan(features["majority_share"])  # of the regression


def test_images(tiny_task, tiny_image_backbone) -> None:
    task = tiny_task(kind="image_classification")
    features = extract_features(task, tiny_image_backbone(), train_rows=32)
    assert tuple(features) == FEATURES
    assert features["is_image"] == 1
    assert math.isnan(features["log2_tokens_q50"])
    assert math.isfinite(features["probe_best"])


def test_rows_are_capped(tiny_task, tiny_text_backbone) -> None:
    features = extract_features(tiny_task(rows=48), tiny_text_backbone(), train_rows=16)
    assert features["log2_train_rows"] == pytest.approx(4)


def test_lengths_and_words_of_a_sorted_file_are_those_of_all_classes(
    tiny_task, tiny_text_backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "probe", lambda task, backbone: {})
    labels = np.repeat([0, 1], 1_000)
    texts = tuple("bb" if label == 0 else "bb cccc" for label in labels)
    task = dataclasses.replace(tiny_task(), train=Split(labels=labels, texts=texts))
    for rows in (1_500, 2_000):
        features = extract_features(task, tiny_text_backbone(), train_rows=rows)
        assert features["word_length"] == pytest.approx((2 + 2 + 4) / 3, abs=1e-2)
        assert features["log2_train_rows"] == pytest.approx(math.log2(rows))


def test_same_input_same_features(tiny_task, tiny_text_backbone) -> None:
    first = extract_features(tiny_task(), tiny_text_backbone(), train_rows=40)
    again = extract_features(tiny_task(), tiny_text_backbone(), train_rows=40)
    assert list(first.values()) == pytest.approx(list(again.values()), nan_ok=True)


def test_other_modality_is_refused(tiny_task, tiny_image_backbone) -> None:
    with pytest.raises(TaskError, match="takes images"):
        extract_features(tiny_task(), tiny_image_backbone(), train_rows=32)


def test_every_feature_has_a_meaning() -> None:
    assert all(MEANINGS[name] for name in FEATURES)
