"""Which rows go together: batches of like length, in a seeded order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_POOL_BATCHES = 16  # Rows are sorted by length within pools of so many batches.


def training_batches(
    lengths: np.ndarray, batch_size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Cut a shuffled order of rows into batches of like length.

    Every row stands in exactly one batch; only the last batch may be smaller. Sorting within
    pools rather than over all keeps the batches of an epoch nearly random.

    Args:
        lengths: `(rows,)` tokens of each row.
        batch_size: Rows per batch.
        rng: Draws the order; another state gives another order.

    Returns:
        Row numbers of each batch, batches in random order.
    """
    order = rng.permutation(len(lengths))
    pool = batch_size * _POOL_BATCHES
    batches: list[np.ndarray] = []
    for at in range(0, len(order), pool):
        rows = order[at : at + pool]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[cut : cut + batch_size] for cut in range(0, len(rows), batch_size)]
    return [batches[at] for at in rng.permutation(len(batches))]


def evaluation_batches(lengths: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Cut the rows, longest first, into batches: the largest one comes first."""
    order = np.argsort(-lengths, kind="stable")
    for at in range(0, len(order), batch_size):
        yield order[at : at + batch_size]
