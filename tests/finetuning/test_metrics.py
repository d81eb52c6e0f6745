from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax
from sklearn.metrics import precision_recall_fscore_support

from metaft.finetuning.metrics import score_classes, score_values


def test_classes_by_hand() -> None:
    # Predictions 0, 0, 1, 1 against labels 0, 1, 1, 1.
    logits = np.log(np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]]))
    scores = score_classes(logits, np.array([0, 1, 1, 1]))
    assert scores["accuracy"] == 0.75
    assert scores["precision"] == pytest.approx((1 / 2 + 1) / 2)
    assert scores["recall"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores["loss"] == pytest.approx(-np.mean(np.log([0.9, 0.4, 0.8, 0.7])))


def test_huge_logits_have_a_finite_loss() -> None:
    scores = score_classes(np.array([[1e4, -1e4]], dtype=np.float32), np.array([1]))
    assert scores["loss"] == pytest.approx(2e4)


def test_values_by_hand() -> None:
    scores = score_values(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
    assert scores["spearman"] == pytest.approx(1.0)
    assert scores["pearson"] == pytest.approx(3 / math.sqrt(2 * 14 / 3))
    assert scores["loss"] == pytest.approx(1 / 3)


def test_constant_predictions_correlate_with_nothing() -> None:
    scores = score_values(np.zeros(3), np.array([1.0, 2.0, 3.0]))
    assert scores["pearson"] == scores["spearman"] == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_classes_as_scikit_learn_scores_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(90, 12)).astype(np.float32)
    logits[:, 3] -= 10.0  # never predicted, and class 7 never occurs
    labels = rng.choice([0, 1, 2, 3, 5, 8, 11], 90)
    scores = score_classes(logits, labels)
    expected = precision_recall_fscore_support(
        labels, logits.argmax(1), average="macro", zero_division=0
    )
    assert (scores["precision"], scores["recall"], scores["macro_f1"]) == expected[:3]
    losses = log_softmax(logits.astype(np.float64), axis=1)[np.arange(90), labels]
    assert scores["loss"] == pytest.approx(-losses.mean(), rel=1e-14)


def test_values_as_scipy_scores_them() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=80)
    predicted = np.round(targets + rng.normal(size=80), 1).astype(np.float32)  # with ties
    scores = score_values(predicted, targets)
    assert scores["pearson"] == pytest.approx(stats.pearsonr(predicted, targets).statistic)
    assert scores["spearman"] == pytest.approx(stats.spearmanr(predicted, targets).statistic)


def test_predictions_that_are_no_numbers_correlate_with_nothing() -> None:
    scores = score_values(np.array([1.0, np.nan, 4.0]), np.array([1.0, 2.0, 3.0]))
    assert scores["pearson"] == scores["spearman"] == 0.0
