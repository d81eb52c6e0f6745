"""Splitting: stratified, nested, seeded, and no text in two splits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaft.tasks import split as splitting
from metaft.tasks.split import (
    content_keys,
    cut_test,
    cut_validation,
    drop_repeated,
    strata_of,
    stratified_order,
    subsample,
)
from metaft.tasks.task import Split, Task

GOLDEN_SAMPLE = ("train 12", "train 17", "train 7", "train 28", "train 14", "train 18")

_labels = st.lists(st.integers(0, 4), min_size=2, max_size=120)
_seeds = st.integers(0, 2**31 - 1)


def _split(labels: list[int], texts: list[str] | None = None) -> Split:
    texts = texts or [f"text {row}" for row in range(len(labels))]
    return Split(labels=np.array(labels, dtype=np.int64), texts=tuple(texts))


def _task(rows: int, classes: int = 3) -> Task:
    labels = [row % classes for row in range(rows)]
    parts = [
        Split(np.array(labels), texts=tuple(f"{name} {row}" for row in range(rows)))
        for name in ("train", "validation", "test")
    ]
    names = tuple("abcdefghij"[:classes])
    return Task("t", "classification", *parts, names, "accuracy", "file")


@given(labels=_labels, seed=_seeds)
def test_the_order_is_a_permutation_and_every_prefix_is_stratified(
    labels: list[int], seed: int
) -> None:
    strata = np.array(labels)
    order = stratified_order(strata, seed)
    assert sorted(order) == list(range(len(strata)))
    for stratum in np.unique(strata):
        drawn = np.cumsum(strata[order] == stratum)
        expected = np.arange(1, len(strata) + 1) * (strata == stratum).mean()
        classes = len(np.unique(strata))
        assert np.abs(drawn - expected).max() <= classes / 2 + 1


@given(labels=_labels, seed=_seeds, first=st.integers(1, 60), second=st.integers(1, 60))
def test_samples_of_one_seed_are_nested(
    labels: list[int], seed: int, first: int, second: int
) -> None:
    split = _split(labels)
    task = Task("t", "classification", split, split, split, tuple("abcde"), "accuracy", "file")
    few, many = sorted((first, second))
    smaller = subsample(task, train_rows=few, seed=seed).train
    larger = subsample(task, train_rows=many, seed=seed).train
    assert len(smaller) == min(few, len(split))
    assert smaller.texts
    assert larger.texts
    assert set(smaller.texts) <= set(larger.texts)


def test_a_sample_keeps_the_class_shares() -> None:
    task = _task(300).replaced(train=_split([0] * 210 + [1] * 60 + [2] * 30))
    sample = subsample(task, train_rows=100)
    assert np.bincount(sample.train.labels).tolist() == [70, 20, 10]
    assert sample.name == task.name


def test_golden_sample() -> None:
    sample = subsample(_task(30), train_rows=6, seed=0).train
    assert sample.texts == GOLDEN_SAMPLE
    assert subsample(_task(30), train_rows=6, seed=1).train.texts != GOLDEN_SAMPLE


def test_the_seed_draws_training_rows_alone() -> None:
    task = _task(90)
    sizes = {"train_rows": 30, "validation_rows": 20, "test_rows": 10}
    first, second = (subsample(task, **sizes, seed=seed) for seed in (0, 1))
    assert set(first.train.texts or ()) != set(second.train.texts or ())
    assert first.validation.texts == second.validation.texts
    assert first.test.texts == second.test.texts
    assert [len(first.train), len(first.validation), len(first.test)] == [30, 20, 10]


def test_a_split_that_is_small_enough_is_left_as_it_is() -> None:
    task = _task(9)
    sample = subsample(task, train_rows=9, validation_rows=None)
    assert sample.train is task.train
    assert sample.validation is task.validation
    assert sample.test is task.test


def test_a_regression_is_stratified_by_deciles() -> None:
    targets = np.random.default_rng(0).normal(size=200)
    assert np.bincount(strata_of(targets)).tolist() == [20] * 10
    order = stratified_order(strata_of(targets), seed=0)
    assert np.bincount(strata_of(targets)[order[:50]]).tolist() == [5] * 10
    assert strata_of(np.zeros(3)).tolist() == [0, 3, 6]  # ties are broken by row
    assert strata_of(np.array([], dtype=np.float64)).tolist() == []


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=2, max_size=80),
    seed=_seeds,
)
def test_a_cut_moves_whole_texts_and_loses_no_row(rows: list[tuple[int, int]], seed: int) -> None:
    split = _split([label for label, _ in rows], [f"text {number}" for _, number in rows])
    kept, cut = cut_validation(split, seed)
    assert not set(content_keys(kept)) & set(content_keys(cut))
    together = [*zip(kept.texts or (), kept.labels, strict=True),
                *zip(cut.texts or (), cut.labels, strict=True)]  # fmt: skip
    assert sorted(together) == sorted(zip(split.texts or (), split.labels, strict=True))
    different = len(set(content_keys(split)))
    assert bool(len(kept)) == bool(different)
    assert bool(len(cut)) == (different > 1)


@given(counts=st.lists(st.integers(2, 30), min_size=2, max_size=12), seed=_seeds)
def test_every_class_with_two_rows_can_still_be_learned(counts: list[int], seed: int) -> None:
    split = _split([label for label, count in enumerate(counts) for _ in range(count)])
    rest, _ = cut_test(split, seed)
    train, _ = cut_validation(rest, seed)
    assert set(train.labels) == set(range(len(counts)))


def test_a_cut_is_a_stratified_fifth_of_at_most_1000_rows() -> None:
    split = _split([0] * 800 + [1] * 200)
    train, validation = cut_validation(split)
    assert np.bincount(train.labels).tolist() == [640, 160]
    assert np.bincount(validation.labels).tolist() == [160, 40]
    _, validation = cut_validation(_split([0, 1] * 4000))
    assert len(validation) == 1000
    _, test = cut_test(_split([0, 1] * 4000))
    assert len(test) == 1600


def test_cuts_of_one_seed_are_the_same_and_of_two_differ() -> None:
    split = _split([0, 1] * 50)
    assert cut_test(split, 3)[1].texts == cut_test(split, 3)[1].texts
    assert cut_test(split, 3)[1].texts != cut_test(split, 4)[1].texts


def _pairs(rows: list[tuple[str, str]]) -> Split:
    texts, pairs = zip(*rows, strict=True)
    return Split(np.arange(len(rows)) % 2, texts=texts, text_pairs=pairs)


def test_pairs_that_share_a_text_stay_together() -> None:
    rows = [(f"premise {n // 3}", f"hypothesis {n}") for n in range(60)]
    rows += [(f"hypothesis {n}", f"premise {n // 3} ") for n in range(60, 90)]
    train, test = cut_test(_pairs(rows))
    texts = [
        {
            " ".join(text.split())
            for column in (part.texts, part.text_pairs)
            for text in column or ()
        }
        for part in (train, test)
    ]
    assert not texts[0] & texts[1]
    assert 15 <= len(test) <= 21


def test_pairs_in_one_long_chain_are_cut_between_equal_pairs() -> None:
    rows = [(f"text {n}", f"text {n + 1}") for n in range(50)] * 2
    train, test = cut_test(_pairs(rows))
    assert len(test) == 20
    assert not set(content_keys(train)) & set(content_keys(test))


def test_case_and_white_space_make_no_other_text() -> None:
    split = _split([0, 0, 0], ["A  text ", "a\ntext", "another"])
    keys = content_keys(split)
    assert keys[0] == keys[1] != keys[2]


def test_a_pair_is_one_text() -> None:
    split = Split(np.zeros(3, int), texts=("p", "p", "px"), text_pairs=("h", "i", "h"))
    assert len(set(content_keys(split))) == 3


def test_images_are_compared_by_their_bytes() -> None:
    split = Split(np.zeros(3, int), images=(b"1", b"1", b"2"))
    keys = content_keys(split)
    assert keys[0] == keys[1] != keys[2]


def test_repeated_texts_are_dropped_and_counted() -> None:
    train = _split([0, 1, 0, 1], ["a", "b", "C ", "d"])
    kept, dropped = drop_repeated(train, [_split([0], ["A"]), _split([0], ["c"])])
    assert (kept.texts, dropped) == (("b", "d"), 2)
    same, dropped = drop_repeated(train, [_split([0], ["e"])])
    assert same is train
    assert dropped == 0


@pytest.mark.parametrize("rows", [30, 31])
def test_the_test_halves_are_fixed_disjoint_and_of_like_shares(rows: int) -> None:
    task = _task(rows)
    first, second = splitting.test_halves(task)
    assert sorted([*first, *second]) == list(range(rows))
    assert len(first) - len(second) in (0, 1)
    counts = [np.bincount(task.test.labels[half], minlength=3) for half in (first, second)]
    assert np.abs(counts[0] - counts[1]).max() <= 1
    again = splitting.test_halves(task)
    assert np.array_equal(again[0], first)
    assert np.all(np.diff(first) > 0)
