"""Splitting and sub-sampling: stratified, seeded, nested, and no text in two splits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from metaft.tasks.task import Split, Task

VALIDATION_SHARE = 0.2

MAX_VALIDATION_ROWS = 1000
"""More of them cost time after every epoch and choose no better."""

TEST_SHARE = 0.2
_REGRESSION_STRATA = 10  # deciles of the target


def subsample(
    task: Task,
    *,
    train_rows: int | None,
    validation_rows: int | None = 400,
    test_rows: int | None = None,
    seed: int = 0,
) -> Task:
    """Keep at most so many rows of each split, stratified by label.

    Samples of one seed are nested: the 128 training rows are the first among the 512. The
    seed draws the training rows alone; validation and test rows are the same for every seed,
    so that scores of different seeds can be paired.

    Args:
        task: Any task.
        train_rows: Most training rows to keep, >= 1; None keeps all.
        validation_rows: Most validation rows to keep, >= 1; None keeps all.
        test_rows: Most test rows to keep, >= 1; None keeps all.
        seed: Seed of the training rows, >= 0.

    Returns:
        The smaller task; a split that is small enough already is left as it is.
    """
    return task.replaced(
        train=_first_rows(task.train, train_rows, seed),
        validation=_first_rows(task.validation, validation_rows, 0),
        test=_first_rows(task.test, test_rows, 0),
    )


def sampled_rows(split: Split, rows: int | None, seed: int) -> np.ndarray:
    """Return the numbers of the rows that `subsample` keeps of a split, in its order."""
    if rows is None or rows >= len(split):
        return np.arange(len(split))
    return stratified_order(strata_of(split.labels), seed)[:rows]


def cut_validation(train: Split, seed: int = 0) -> tuple[Split, Split]:
    """Cut a validation split from the training rows: a fifth, at most 1,000 rows.

    Rows of one text stay together, so no text stands in both; so do pairs that share a text,
    unless the chain of such pairs is longer than the whole cut.

    Args:
        train: At least two rows with different texts.
        seed: Seed of the cut, >= 0.

    Returns:
        What remains for training, and the validation split; both in the order of `train`.
    """
    rows = min(round(VALIDATION_SHARE * len(train)), MAX_VALIDATION_ROWS)
    return _cut(train, rows, seed)


def cut_test(train: Split, seed: int = 0) -> tuple[Split, Split]:
    """Cut a test split from the training rows: a fifth.

    Rows stay together as in `cut_validation`.

    Args:
        train: At least two rows with different texts.
        seed: Seed of the cut, >= 0.

    Returns:
        What remains for training, and the test split; both in the order of `train`.
    """
    return _cut(train, round(TEST_SHARE * len(train)), seed)


def test_halves(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Split the test rows into two fixed halves of like label shares.

    An oracle is picked on one half and scored on the other, so that picking the best of many
    noisy scores does not flatter it.

    Returns:
        Two sorted arrays of test row numbers; the first may be longer by one row.
    """
    strata = strata_of(task.test.labels)
    by_class = np.lexsort((np.random.default_rng(0).random(len(strata)), strata))
    return np.sort(by_class[0::2]), np.sort(by_class[1::2])


def drop_repeated(split: Split, others: list[Split]) -> tuple[Split, int]:
    """Drop the rows whose text (pair) or image stands in one of the other splits.

    Returns:
        What remains, and how many rows were dropped.
    """
    taken = {key for other in others for key in content_keys(other)}
    kept = [row for row, key in enumerate(content_keys(split)) if key not in taken]
    dropped = len(split) - len(kept)
    return (split.take(kept) if dropped else split), dropped


def content_keys(split: Split) -> list[bytes]:
    """Return one key per row; equal keys mean the same text (pair) or image.

    Case and white space do not make two texts different. A pair is one text: two pairs that
    share a premise only are different.
    """
    if split.images is not None:
        return [hashlib.sha1(image, usedforsecurity=False).digest() for image in split.images]
    texts = [_normalised(text) for text in split.texts or ()]
    if split.text_pairs is None:
        return [text.encode() for text in texts]
    pairs = (_normalised(text) for text in split.text_pairs)
    return [f"{text}\x1f{pair}".encode() for text, pair in zip(texts, pairs, strict=True)]


def distinct_rows_of_classes(task: Task) -> list[np.ndarray]:
    """Return the training rows of each class; of repeated rows only the first."""
    first_row: dict[bytes, int] = {}
    for row, key in enumerate(content_keys(task.train)):
        first_row.setdefault(key, row)
    rows = np.fromiter(first_row.values(), dtype=np.int64)
    labels = task.train.labels[rows]
    return [rows[labels == number] for number in range(len(task.label_names))]


def stratified_order(strata: np.ndarray, seed: int) -> np.ndarray:
    """Order rows so that every prefix holds each stratum by its share, within one row.

    The j-th row of a stratum of n (drawn at random) stands at (j + 1/2) / n of the way.

    Args:
        strata: `(rows,)` int64 stratum of each row.
        seed: Seed of the draw, >= 0.

    Returns:
        `(rows,)` row numbers.
    """
    rng = np.random.default_rng(seed)
    place = np.empty(len(strata))
    for stratum in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == stratum))
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.lexsort((rng.random(len(strata)), place))


def strata_of(labels: np.ndarray) -> np.ndarray:
    """Return the stratum of each row: its class, or the decile of a regression's target."""
    if labels.dtype.kind != "f":
        return labels
    ranks = np.argsort(np.argsort(labels, kind="stable"), kind="stable")
    return ranks * _REGRESSION_STRATA // max(1, len(labels))


def _first_rows(split: Split, rows: int | None, seed: int) -> Split:
    if rows is None or rows >= len(split):
        return split
    return split.take(sampled_rows(split, rows, seed))


def _cut(split: Split, rows: int, seed: int) -> tuple[Split, Split]:
    """Move about `rows` rows (whole groups, at least one, not all) to a second split."""
    groups = _groups(split, rows)
    _, first_rows = np.unique(groups, return_index=True)
    order = stratified_order(strata_of(split.labels[first_rows]), seed)
    group_sizes = np.bincount(groups)
    before = np.cumsum(group_sizes[order]) - group_sizes[order]
    moved_groups = order[before < max(1, rows)][: len(order) - 1]
    moved = np.isin(groups, moved_groups)
    return split.take(np.flatnonzero(~moved)), split.take(np.flatnonzero(moved))


def _groups(split: Split, largest: int) -> np.ndarray:
    """Number the groups of rows that a cut must not part.

    Rows of the same text form a group, and so do pairs that share one of their texts; where
    such a chain of pairs is longer than `largest`, only equal pairs are kept together.
    """
    if split.texts and split.text_pairs:
        chained = _chained_by_texts(split.texts, split.text_pairs)
        if np.bincount(chained).max() <= max(2, largest):
            return chained
    keys = np.array(content_keys(split), dtype=object)
    return np.unique(keys, return_inverse=True)[1]


def _chained_by_texts(texts: Sequence[str], pairs: Sequence[str]) -> np.ndarray:
    """Give one number to rows that are linked by texts they share, directly or not."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    every = np.array([_normalised(text) for text in (*texts, *pairs)], dtype=object)
    names, nodes = np.unique(every, return_inverse=True)
    first, second = nodes[: len(texts)], nodes[len(texts) :]
    links = coo_array((np.ones(len(texts)), (first, second)), shape=(len(names), len(names)))
    chain_of_text = connected_components(links, directed=False)[1]
    return np.unique(chain_of_text[first], return_inverse=True)[1]


def _normalised(text: str) -> str:
    return " ".join(text.split()).casefold()
