from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaft.finetuning.batches import evaluation_batches, training_batches

LENGTHS = st.lists(st.integers(1, 128), min_size=1, max_size=300).map(np.array)
BATCH_SIZES = st.integers(1, 40)


@given(lengths=LENGTHS, batch_size=BATCH_SIZES, seed=st.integers(0, 9))
def test_every_row_is_trained_on_once_an_epoch(
    lengths: np.ndarray, batch_size: int, seed: int
) -> None:
    batches = training_batches(lengths, batch_size, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert all(len(batch) <= batch_size for batch in batches)


@given(lengths=LENGTHS)
def test_every_row_is_evaluated_once_longest_first(lengths: np.ndarray) -> None:
    rows = np.concatenate(list(evaluation_batches(lengths)))
    assert sorted(rows) == list(range(len(lengths)))
    assert list(lengths[rows]) == sorted(lengths, reverse=True)


@pytest.mark.parametrize(("length", "rows"), [(1, 64), (32, 64), (128, 16), (8192, 1)])
def test_evaluation_batches_are_bounded_in_rows_and_tokens(length: int, rows: int) -> None:
    first = next(evaluation_batches(np.full(200, length)))
    assert len(first) == rows


def test_batches_pad_far_less_than_a_random_order() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, 128, 512)
    batches = training_batches(lengths, 16, rng)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    shuffled = rng.permutation(512).reshape(-1, 16)
    padded_at_random = sum(16 * lengths[batch].max() for batch in shuffled)
    assert padded < 1.15 * lengths.sum() < padded_at_random


def test_another_epoch_has_another_order() -> None:
    rng = np.random.default_rng(0)
    lengths = np.full(64, 8)
    first, second = (np.concatenate(training_batches(lengths, 8, rng)) for _ in range(2))
    assert list(first) != list(second)
