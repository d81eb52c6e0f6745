"""Scores of predictions against labels."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import stats
from scipy.special import log_softmax
from sklearn.metrics import precision_recall_fscore_support

from metaft.finetuning.outcome import Scores


def score_classes(logits: np.ndarray, labels: np.ndarray) -> Scores:
    """Score a classification.

    Args:
        logits: `(rows, classes)`.
        labels: `(rows,)` class numbers.

    Returns:
        `accuracy`, `macro_f1`, `precision`, `recall` (both macro) in [0, 1], and `loss`, the
        mean cross-entropy in nats. Macro averages run over the classes that occur in labels
        or predictions.
    """
    predicted = logits.argmax(1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, average="macro", zero_division=0
    )
    loss = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels].mean()
    return {
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": float(f1),
        "precision": float(precision),
        "recall": float(recall),
        "loss": float(loss),
    }


def score_values(predicted: np.ndarray, targets: np.ndarray) -> Scores:
    """Score a regression.

    Args:
        predicted: `(rows,)`.
        targets: `(rows,)`.

    Returns:
        `pearson` and `spearman` in [-1, 1] (0 for constant predictions), and `loss`, the mean
        squared error.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        pearson = stats.pearsonr(predicted, targets).statistic
        spearman = stats.spearmanr(predicted, targets).statistic
    return {
        "pearson": float(np.nan_to_num(pearson)),
        "spearman": float(np.nan_to_num(spearman)),
        "loss": float(np.mean((predicted - targets) ** 2)),
    }
