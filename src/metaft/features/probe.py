"""What a linear model finds in the frozen hidden states: one forward pass, no training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from metaft.tasks.split import strata_of, stratified_order
from metaft.tasks.task import Split, Task

if TYPE_CHECKING:
    from torch import Tensor

    from metaft.backbones.backbone import Backbone, Batch, Examples

PROBE_ROWS = 1_000
"""Most rows that the forward pass sees."""

PROBE_TOKENS = 128
"""Texts are cut to this length, the default of a Recipe."""

PROBE_PIXELS = 96
"""Images are resized to this side, the default of a Recipe."""

LAYERS: dict[str, float] = {
    "probe_000": 0.0,
    "probe_025": 0.25,
    "probe_050": 0.5,
    "probe_075": 0.75,
    "probe_100": 1.0,
}
"""Feature -> relative depth of the hidden state; the same five for every backbone."""

_SCORE = "accuracy (regression: Pearson's r) over ten folds of a ridge on"

PROBE_FEATURES: dict[str, str] = {
    **{name: f"{_SCORE} the state at {depth:.0%} of the depth" for name, depth in LAYERS.items()},
    "probe_words": f"{_SCORE} TF-IDF of the words; unknown for images",
    "probe_best": "the best of the five layers",
    "probe_best_depth": "relative depth of the best layer, in [0, 1]",
    "probe_above_guess": "the best layer's share of the way from the most frequent class (0 for "
    "a regression) to a perfect score, at most 1",
    "probe_gain_by_rows": "score of the last layer with all rows less that with half of them: how "
    "much more rows would help",
}

_FOLDS = 10
_FEWEST_ROWS = 4  # so that half of them still make two folds
_BATCH_ROWS = 64
_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # in units of the kernel's mean diagonal


def probe(task: Task, backbone: Backbone) -> dict[str, float]:
    """Score a linear probe at five depths, and on the words; see `PROBE_FEATURES`.

    Only training rows are used: validation and test rows stay unseen.

    Args:
        task: Sub-sampled to the rows that a run may use; the first 1,000 of them count.
        backbone: Pretrained; runs where its weights are.

    Returns:
        Feature -> value; nothing where there are fewer than 4 rows, and for questions, whose
        answers are no classes.
    """
    if len(task.train) < _FEWEST_ROWS or task.kind == "qa":
        return {}
    if task.train.tags is not None:
        task, states = _sample_words(task, backbone)
    else:
        rows = stratified_order(strata_of(task.train.labels), seed=0)[:PROBE_ROWS]
        task = task.replaced(train=task.train.take(rows))
        states = _states(task, backbone)
    kernels = {name: _linear_kernel(state) for name, state in states.items()}
    scores = {name: _score(kernel, task) for name, kernel in kernels.items()}
    features = scores | _summarise(scores, task)
    count = len(task.train)
    half = slice(0, count // 2)  # The rows are in a stratified order.
    fewer = task.replaced(train=task.train.take(range(count)[half]))
    last = kernels["probe_100"]
    features["probe_gain_by_rows"] = scores["probe_100"] - _score(last[half, half], fewer)
    if task.train.texts is not None:
        features["probe_words"] = _score(_word_kernel(task), task)
    return features


def cross_validated_ridge(
    kernel: np.ndarray, targets: np.ndarray, fold_of: np.ndarray, penalty: float
) -> np.ndarray:
    """Predict every row by the ridge (with intercept) that was fitted without its fold.

    One decomposition serves all folds: leaving rows b out changes their residuals r to
    (I - H_bb)^-1 r_b, where H is the hat matrix of the fit on all rows.

    Args:
        kernel: `(rows, rows)` inner products of centred features.
        targets: `(rows, outputs)`.
        fold_of: `(rows,)` fold of each row.
        penalty: Ridge penalty, > 0.

    Returns:
        `(rows, outputs)` predictions.

    Source:
        Cook & Weisberg (1982), Residuals and Influence in Regression, section 2.2.
    """
    rows = len(kernel)
    shrunk = np.linalg.solve(kernel + penalty * np.eye(rows), kernel)
    hat = shrunk + 1.0 / rows
    residuals = targets - hat @ targets
    predictions = np.empty_like(targets, dtype=np.float64)
    for fold in np.unique(fold_of):
        held = np.flatnonzero(fold_of == fold)
        inner = np.eye(len(held)) - hat[np.ix_(held, held)]
        predictions[held] = targets[held] - np.linalg.solve(inner, residuals[held])
    return predictions


def _states(task: Task, backbone: Backbone) -> dict[str, np.ndarray]:
    """Return the pooled hidden states `(rows, width)` of each relative depth, in float64."""
    examples = backbone.encode(task.train, max_length=PROBE_TOKENS, image_size=PROBE_PIXELS)
    order = np.argsort(-examples.lengths, kind="stable")  # like lengths: little padding
    found: dict[str, list[np.ndarray]] = {name: [] for name in LAYERS}
    for _, batch, hidden in _passes(backbone, examples, order):
        for name, states in hidden.items():
            found[name].append(backbone.pool(states, batch).float().cpu().numpy())
    back = np.argsort(order)
    return {name: np.concatenate(parts)[back].astype(np.float64) for name, parts in found.items()}


def _sample_words(task: Task, backbone: Backbone) -> tuple[Task, dict[str, np.ndarray]]:
    """Make words the rows of a classification: their tags, and their states as of `_states`.

    A word goes by its first token, within the rows that the pass may see.
    """
    rows = stratified_order(strata_of(task.train.labels), seed=0)[:PROBE_ROWS]
    split = task.train.take(rows)
    examples = backbone.encode(split, max_length=PROBE_TOKENS, image_size=PROBE_PIXELS)
    at = [
        (row, int(token), word)
        for row, places in enumerate(examples.places or ())
        for word, token in enumerate(places)
        if token >= 0
    ]
    tags = np.array([(split.tags or ())[row][word] for row, _, word in at], dtype=np.int64)
    chosen = stratified_order(tags, seed=0)[:PROBE_ROWS]
    row_of, token_of = (np.array([at[n][part] for n in chosen]) for part in (0, 1))
    words = tuple((split.words or ())[at[n][0]][at[n][2]] for n in chosen)
    states: dict[str, np.ndarray] = {
        name: np.empty((len(chosen), backbone.token_width)) for name in LAYERS
    }
    order = np.unique(row_of)
    order = order[np.argsort(-examples.lengths[order], kind="stable")]
    for numbers, _, hidden in _passes(backbone, examples, order):
        place = {int(row): number for number, row in enumerate(numbers)}
        wanted = np.flatnonzero(np.isin(row_of, numbers))
        in_batch = [place[int(row)] for row in row_of[wanted]]
        for name, state in hidden.items():
            states[name][wanted] = state[in_batch, token_of[wanted]].float().cpu().numpy()
    train = Split(labels=tags[chosen], texts=words)
    return dataclasses.replace(task, kind="classification", train=train), states


def _passes(
    backbone: Backbone, examples: Examples, order: np.ndarray
) -> Iterator[tuple[np.ndarray, Batch, dict[str, Tensor]]]:
    """Yield row numbers, their batch, and its hidden states at each relative depth."""
    import torch

    depths = {name: int(share * backbone.depth + 0.5) for name, share in LAYERS.items()}
    backbone.eval()
    for at in range(0, len(order), _BATCH_ROWS):
        rows = order[at : at + _BATCH_ROWS]
        batch = backbone.collate(examples, rows)
        batch = {name: value.to(backbone.device) for name, value in batch.items()}
        with torch.inference_mode():
            found = backbone.hidden_states(batch, sorted(set(depths.values())))
        yield rows, batch, {name: found[depth] for name, depth in depths.items()}


def _linear_kernel(state: np.ndarray) -> np.ndarray:
    """Return the inner products of standardised features `(rows, rows)`."""
    scaled = (state - state.mean(0)) / (state.std(0) + 1e-6)
    return scaled @ scaled.T


def _word_kernel(task: Task) -> np.ndarray:
    """Return the inner products of TF-IDF vectors `(rows, rows)`."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    pairs = task.train.text_pairs or ("",) * len(task.train)
    texts = [f"{text} {pair}" for text, pair in zip(task.train.texts or (), pairs, strict=True)]
    try:
        words = TfidfVectorizer(sublinear_tf=True).fit_transform(texts)
    except ValueError:  # No text holds a word of two letters.
        return np.zeros((len(texts), len(texts)))
    kernel: np.ndarray = (words @ words.T).toarray()
    return kernel


def _score(kernel: np.ndarray, task: Task) -> float:
    """Return the cross-validated score of the best penalty."""
    kernel = _centred(kernel)
    labels = task.train.labels
    order = stratified_order(strata_of(labels), seed=0)
    fold_of = np.empty(len(labels), dtype=np.int64)
    fold_of[order] = np.arange(len(labels)) % _FOLDS
    targets = labels[:, None] if task.is_regression else np.eye(task.num_outputs)[labels]
    scale = max(float(np.diag(kernel).mean()), 1e-9) * len(labels) / _FOLDS
    scores = []
    for penalty in _PENALTIES:
        predictions = cross_validated_ridge(kernel, targets, fold_of, penalty * scale)
        scores.append(_agreement(predictions, labels))
    return max(scores)


def _centred(kernel: np.ndarray) -> np.ndarray:
    """Return the inner products after the features' means were taken away."""
    means = kernel.mean(0)
    return kernel - means[:, None] - means[None, :] + kernel.mean()


def _agreement(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Return the accuracy, or Pearson's r (0 where either side is constant)."""
    if predictions.shape[1] > 1:
        return float((predictions.argmax(1) == labels).mean())
    if predictions.std() < 1e-12 or labels.std() < 1e-12:
        return 0.0
    return float(np.corrcoef(predictions[:, 0], labels)[0, 1])


def _summarise(scores: dict[str, float], task: Task) -> dict[str, float]:
    best = max(scores, key=lambda name: scores[name])  # the shallowest of equals
    guess = 0.0
    if not task.is_regression:
        guess = float(np.bincount(task.train.labels).max() / len(task.train))
    return {
        "probe_best": scores[best],
        "probe_best_depth": LAYERS[best],
        "probe_above_guess": (scores[best] - guess) / max(1e-9, 1.0 - guess),
    }
