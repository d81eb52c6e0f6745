from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaft.finetuning.entities import (
    entities_in,
    has_entities,
    parts_of,
    scheme_steps,
    score_tags,
)

BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
BIOES = (*BIO, "E-PER", "S-PER", "E-LOC", "S-LOC")


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("O O", []),
        ("B-PER I-PER O", [("PER", 0, 1)]),
        ("B-PER B-PER", [("PER", 0, 0), ("PER", 1, 1)]),
        ("I-PER I-PER I-LOC", [("PER", 0, 1), ("LOC", 2, 2)]),  # the older BIO
        ("O I-PER", [("PER", 1, 1)]),
        ("B-PER I-LOC", [("PER", 0, 0), ("LOC", 1, 1)]),
        ("S-PER B-LOC E-LOC", [("PER", 0, 0), ("LOC", 1, 2)]),
        ("U-PER B-LOC L-LOC L-LOC", [("PER", 0, 0), ("LOC", 1, 2), ("LOC", 3, 3)]),
        ("B I O", [("", 0, 1)]),
        ("B-date.from I-date.from", [("date.from", 0, 1)]),
        ("B-a-b", [("a-b", 0, 0)]),
    ],
)
def test_entities(tags: str, entities: list[tuple[str, int, int]]) -> None:
    assert entities_in(tags.split()) == entities


@given(rows=st.lists(st.lists(st.sampled_from(BIOES), max_size=8), min_size=1, max_size=4))
def test_scores_agree_with_seqeval(rows: list[list[str]]) -> None:
    from seqeval.metrics import f1_score, precision_score, recall_score
    from seqeval.metrics.sequence_labeling import get_entities

    for row in rows:
        assert entities_in(row) == get_entities(row)
    right = [list(reversed(row)) for row in rows]
    numbers = [
        [np.array([BIOES.index(tag) for tag in row], dtype=np.int64) for row in side]
        for side in (rows, right)
    ]
    found = score_tags(*numbers, BIOES)
    assert found["entity_f1"] == pytest.approx(f1_score(right, rows, zero_division=0))
    assert found["precision"] == pytest.approx(precision_score(right, rows, zero_division=0))
    assert found["recall"] == pytest.approx(recall_score(right, rows, zero_division=0))


def test_words_stand_by_themselves_where_tags_mark_no_entities() -> None:
    names = ("NN", "VB", "-NONE-")
    assert not has_entities(names)
    found = score_tags([np.array([0, 1, 2, 0])], [np.array([0, 1, 1, 1])], names)
    assert found["entity_f1"] == found["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("names", "answer"),
    [(BIO, True), (("O", "B", "I"), True), (("NN", "IN", "."), False), (("O", "PER"), False)],
)
def test_which_tags_mark_entities(names: tuple[str, ...], answer: bool) -> None:
    assert has_entities(names) is answer


@pytest.mark.parametrize(("names", "strict"), [(BIO, False), (BIOES, True)])
def test_steps_are_those_of_well_formed_rows(names: tuple[str, ...], strict: bool) -> None:
    steps = scheme_steps(names)
    for tag, then in itertools.product(range(len(names)), repeat=2):
        assert steps.pairs[tag, then] == _may_follow(names[tag], names[then], strict)
    assert [names[at] for at in np.flatnonzero(~steps.first)] == [
        name for name in names if name[0] in "IE"
    ]
    ends = [name for name in names if strict and name[0] in "BI"]
    assert [names[at] for at in np.flatnonzero(~steps.last)] == ends


def test_parts_of_speech_may_stand_anywhere() -> None:
    steps = scheme_steps(("NN", "VB"))
    assert steps.pairs.all()
    assert steps.first.all()


def _may_follow(tag: str, then: str, strict: bool) -> bool:
    (prefix, kind), (next_prefix, next_kind) = parts_of(tag), parts_of(then)
    if next_prefix in "IE":
        return prefix in "BI" and kind == next_kind
    return not (strict and prefix in "BI")
