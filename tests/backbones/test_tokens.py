from __future__ import annotations

import itertools

import numpy as np
import pytest

from metaft.tasks.task import Answer, Split


def _words(*rows: str) -> Split:
    words = tuple(tuple(row.split(" ")) for row in rows)
    return Split(
        labels=np.zeros(len(rows)),
        texts=rows,
        words=words,
        tags=tuple(np.zeros(len(row), dtype=np.int64) for row in words),
    )


def test_each_word_begins_at_its_first_token(tiny_text_backbone) -> None:
    backbone = tiny_text_backbone()
    examples = backbone.encode(_words("the xyz river"), max_length=32, image_size=0)
    # [CLS] the x ##y ##z river [SEP]
    assert examples.places[0].tolist() == [1, 2, 5]
    tokens = backbone.tokenizer.convert_ids_to_tokens(examples.columns["input_ids"][0].tolist())
    assert [tokens[at] for at in examples.places[0]] == ["the", "x", "river"]


def test_words_without_tokens_and_words_cut_off_have_no_place(tiny_text_backbone) -> None:
    split = _words("the \u200b river near some lawyer")
    examples = tiny_text_backbone().encode(split, max_length=6, image_size=0)
    assert examples.places[0].tolist() == [1, -1, 2, 3, 4, -1]
    assert examples.truncated == 1


def test_windows_overlap_and_cover_the_whole_context(tiny_text_backbone) -> None:
    context = " ".join(["the", "old", "river", "was", "near", "a", "kitchen"] * 6)
    split = Split(
        labels=np.ones(1),
        texts=("some winter",),
        text_pairs=(context,),
        answers=((Answer("river", 8),),),
    )
    examples = tiny_text_backbone().encode(split, max_length=20, image_size=0)
    assert len(examples) > 2
    assert (examples.lengths <= 20).all()
    assert examples.owners.tolist() == [0] * len(examples)
    covered = [set() for _ in range(len(examples))]
    for window, places in zip(covered, examples.places, strict=True):
        for start, end in places[places[:, 0] >= 0]:
            window |= set(range(start, end))
    assert {at for at, char in enumerate(context) if char != " "} == set().union(*covered)
    assert all(one & other for one, other in itertools.pairwise(covered))


def test_a_long_question_leaves_room_for_the_context(tiny_text_backbone) -> None:
    split = Split(
        labels=np.ones(1), texts=("the old " * 40,), text_pairs=("river was near",), answers=((),)
    )
    examples = tiny_text_backbone().encode(split, max_length=16, image_size=0)
    assert sum(int((places[:, 0] >= 0).sum()) for places in examples.places) >= 3
    assert (examples.lengths <= 16).all()


@pytest.mark.parametrize("pooling", ["mean", "native"])
@pytest.mark.parametrize("start", [0, 1, 2])
def test_token_states_go_on_from_any_depth(tiny_text_backbone, tiny_task, pooling, start) -> None:
    import torch

    backbone = tiny_text_backbone(pooling=pooling).double().eval()
    split = tiny_task(rows=4, kind="ner").train
    batch = backbone.collate(backbone.encode(split, max_length=32, image_size=0), range(4))
    whole = backbone.token_states(batch)
    assert whole.shape == (*batch["input_ids"].shape, backbone.token_width)
    with torch.no_grad():
        hidden = backbone.hidden_states(batch, [start])[start]
        assert torch.allclose(backbone.token_states(batch, start=start, hidden=hidden), whole)


def test_images_have_no_tokens(tiny_image_backbone) -> None:
    from metaft.errors import BackboneError

    with pytest.raises(BackboneError, match="has no tokens"):
        tiny_image_backbone().token_states({})


def test_taken_rows_keep_their_places(tiny_text_backbone, tiny_task) -> None:
    examples = tiny_text_backbone().encode(
        tiny_task(rows=6, kind="qa").train, max_length=14, image_size=0
    )
    taken = examples.take([3, 1])
    assert np.array_equal(taken.places[0], examples.places[3])
    assert taken.owners.tolist() == examples.owners[[3, 1]].tolist()
