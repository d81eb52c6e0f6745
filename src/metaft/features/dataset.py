"""What the rows of a task look like: size, labels, lengths, words."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from metaft.tasks.split import sampled_rows

if TYPE_CHECKING:
    from metaft.backbones.backbone import Backbone
    from metaft.tasks.task import Split, Task

LONGEST_TOKENS = 512
"""Lengths are measured up to here, whatever a recipe cuts texts to."""

TOKEN_LEVELS: dict[str, float] = {
    "log2_tokens_q05": 0.05,
    "log2_tokens_q25": 0.25,
    "log2_tokens_q50": 0.5,
    "log2_tokens_q75": 0.75,
    "log2_tokens_q95": 0.95,
}
"""Feature -> level of the quantile of the tokens per row."""

DATASET_FEATURES: dict[str, str] = {
    "log2_train_rows": "log2 of the training rows that a run may use",
    "log2_classes": "log2 of the classes; 0 for a regression, 1 for questions",
    "log2_rows_per_class": "log2 of the training rows (tagged words) per class; unknown without "
    "classes",
    "label_entropy": "entropy of the training labels as a share of its maximum, in [0, 1]; "
    "unknown without classes",
    "majority_share": "share of the most frequent class, in (0, 1]; unknown without classes",
    "is_regression": "1 for a regression, else 0",
    "is_pair": "1 for pairs of texts, else 0",
    "is_image": "1 for images, else 0",
    **{
        name: f"log2 of the {level:.0%} quantile of the backbone's tokens per row, at most "
        f"{LONGEST_TOKENS}; unknown for images"
        for name, level in TOKEN_LEVELS.items()
    },
    "type_token_ratio": "different ones among the first 2,000 words, in (0, 1]; unknown for images",
    "word_length": "mean characters per word; unknown for images",
    "non_ascii_share": "share of characters beyond ASCII, in [0, 1]; unknown for images",
    "digit_share": "share of digits among the characters, in [0, 1]; unknown for images",
    "uppercase_share": "share of capitals among the characters, in [0, 1]; unknown for images",
    "pair_overlap": "mean Jaccard overlap of the words of a pair, in [0, 1]; unknown without pairs",
}

STATISTICS_ROWS = 1_000
"""Most rows that lengths and words are taken from."""

_RATIO_WORDS = 2_000  # A type-token ratio falls with the words counted, so they are fixed.
_WORD = re.compile(r"\w+")


def describe_dataset(
    task: Task, backbone: Backbone, *, sample: Split | None = None
) -> dict[str, float]:
    """Describe the training rows of a task; see `DATASET_FEATURES`.

    Args:
        task: Sub-sampled to the rows that a run may use.
        backbone: Its tokenizer counts the tokens.
        sample: At most 1,000 of the rows, from which lengths and words are taken; None draws
            them, by their labels: the first ones of a sorted file would be of one class.
    """
    rows = len(task.train)
    features = {
        "log2_train_rows": math.log2(rows),
        "log2_classes": math.log2(task.num_outputs),
        "is_regression": float(task.is_regression),
        "is_pair": float(task.train.text_pairs is not None),
        "is_image": float(task.modality == "image"),
    }
    classes = task.training_classes
    if classes is not None:
        features |= _describe_labels(classes, task.num_outputs)
    if task.train.texts is not None:
        if sample is None:
            sample = task.train.take(sampled_rows(task.train, STATISTICS_ROWS, seed=0))
        features |= _describe_lengths(sample, backbone) | _describe_words(sample)
    return features


def _describe_labels(labels: np.ndarray, classes: int) -> dict[str, float]:
    counts = np.bincount(labels, minlength=classes)
    shares = counts[counts > 0] / len(labels)
    entropy = float(-(shares * np.log(shares)).sum())
    return {
        "log2_rows_per_class": math.log2(len(labels) / classes),
        "label_entropy": entropy / math.log(classes) if classes > 1 else 0.0,
        "majority_share": float(shares.max()),
    }


def _describe_lengths(split: Split, backbone: Backbone) -> dict[str, float]:
    lengths = backbone.encode(split, max_length=LONGEST_TOKENS, image_size=0).lengths
    quantiles = np.quantile(lengths, list(TOKEN_LEVELS.values()))
    return dict(zip(TOKEN_LEVELS, np.log2(quantiles).tolist(), strict=True))


def _describe_words(split: Split) -> dict[str, float]:
    texts, pairs = split.texts or (), split.text_pairs or ()
    everything = " ".join((*texts, *pairs))
    characters = max(1, len(everything))
    words = _words(everything)
    counted = words[:_RATIO_WORDS]
    features = {
        "type_token_ratio": len(set(counted)) / max(1, len(counted)),
        "word_length": sum(map(len, words)) / max(1, len(words)),
        "non_ascii_share": sum(not c.isascii() for c in everything) / characters,
        "digit_share": sum(c.isdigit() for c in everything) / characters,
        "uppercase_share": sum(c.isupper() for c in everything) / characters,
    }
    if pairs:
        overlaps = [_overlap(text, pair) for text, pair in zip(texts, pairs, strict=True)]
        features["pair_overlap"] = float(np.mean(overlaps))
    return features


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _overlap(text: str, pair: str) -> float:
    """Return the share of the words of either text that stand in both."""
    first, second = set(_words(text)), set(_words(pair))
    return len(first & second) / max(1, len(first | second))
