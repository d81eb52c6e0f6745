from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from metaft.features.dataset import describe_dataset
from metaft.tasks.task import Split


def test_labels_and_sizes(tiny_task, tiny_text_backbone) -> None:
    features = describe_dataset(tiny_task(rows=48, classes=3), tiny_text_backbone())
    assert features["log2_train_rows"] == pytest.approx(math.log2(48))
    assert features["log2_classes"] == pytest.approx(math.log2(3))
    assert features["log2_rows_per_class"] == pytest.approx(4)
    assert features["label_entropy"] == pytest.approx(1.0)
    assert features["majority_share"] == pytest.approx(1 / 3)


def test_words_by_hand(tiny_task, tiny_text_backbone) -> None:
    train = Split(
        labels=np.array([0, 1]),
        texts=("Ab ab 12", "é"),
        text_pairs=("ab cd", "zz"),
    )
    task = dataclasses.replace(tiny_task(), kind="pair_classification", train=train)
    features = describe_dataset(task, tiny_text_backbone())
    everything = "Ab ab 12 é ab cd zz"
    assert features["type_token_ratio"] == pytest.approx(5 / 7)  # ab 12 é cd zz
    assert features["word_length"] == pytest.approx(13 / 7)
    assert features["non_ascii_share"] == pytest.approx(1 / len(everything))
    assert features["digit_share"] == pytest.approx(2 / len(everything))
    assert features["uppercase_share"] == pytest.approx(1 / len(everything))
    assert features["pair_overlap"] == pytest.approx((1 / 3 + 0) / 2)
    assert features["is_pair"] == 1


def test_token_quantiles_count_what_the_backbone_reads(tiny_task, tiny_text_backbone) -> None:
    task, backbone = tiny_task(rows=40), tiny_text_backbone()
    lengths = backbone.encode(task.train, max_length=512, image_size=0).lengths
    features = describe_dataset(task, backbone)
    assert features["log2_tokens_q50"] == pytest.approx(math.log2(np.median(lengths)))


def test_words_of_a_sorted_file_are_those_of_all_classes(tiny_task, tiny_text_backbone) -> None:
    labels = np.repeat([0, 1], 1_000)
    texts = tuple("bb" if label == 0 else "bb cccc" for label in labels)
    train = Split(labels=labels, texts=texts)
    task = dataclasses.replace(tiny_task(), train=train)
    features = describe_dataset(task, tiny_text_backbone())
    assert features["word_length"] == pytest.approx((2 + 2 + 4) / 3, abs=1e-2)
    assert features["log2_tokens_q95"] > features["log2_tokens_q05"]


def test_regression_has_no_classes(tiny_task, tiny_text_backbone) -> None:
    features = describe_dataset(tiny_task(kind="regression"), tiny_text_backbone())
    assert features["is_regression"] == 1
    assert "majority_share" not in features
