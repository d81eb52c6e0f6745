"""Scores of predictions against labels.

In numpy alone: these few lines also run on machines that have little more than torch.
"""

from __future__ import annotations

import numpy as np

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
    predicted, classes = logits.argmax(1), logits.shape[1]
    hits = np.bincount(labels[predicted == labels], minlength=classes)
    given = np.bincount(labels, minlength=classes)
    answered = np.bincount(predicted, minlength=classes)
    occurring = (given + answered) > 0
    return {
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": float(_shares(2 * hits, given + answered)[occurring].mean()),
        "precision": float(_shares(hits, answered)[occurring].mean()),
        "recall": float(_shares(hits, given)[occurring].mean()),
        "loss": float(-_log_softmax(logits)[np.arange(len(labels)), labels].mean()),
    }


def score_values(predicted: np.ndarray, targets: np.ndarray) -> Scores:
    """Score a regression.

    Args:
        predicted: `(rows,)`.
        targets: `(rows,)`.

    Returns:
        `pearson` and `spearman` in [-1, 1] (0 for constant predictions and for such as are
        no numbers), and `loss`, the mean squared error.
    """
    return {
        "pearson": _correlation(predicted, targets),
        "spearman": _correlation(_ranks(predicted), _ranks(targets)),
        "loss": float(np.mean((predicted - targets) ** 2)),
    }


def _shares(counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Divide; nothing of nothing is 0."""
    return np.divide(counts, totals, out=np.zeros(len(counts)), where=totals > 0)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    log_probabilities: np.ndarray = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return log_probabilities


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's r, 0 where it is not defined."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    with np.errstate(invalid="ignore"):
        return float(np.nan_to_num(np.corrcoef(first, second)[0, 1]))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value, equal ones at the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True, equal_nan=False)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return np.where(np.isnan(values), np.nan, ranks)
