from __future__ import annotations

import itertools

import numpy as np
import pytest

from metaft.backbones.words import nearest_words, words_of
from metaft.errors import BackboneError
from metaft.tasks.task import Split


def _split(texts: tuple[str, ...], pairs: tuple[str, ...] | None = None) -> Split:
    return Split(labels=np.zeros(len(texts), dtype=np.int64), texts=texts, text_pairs=pairs)


def test_words_are_the_tokens_that_belong_together(tiny_text_backbone) -> None:
    """`river` is one token of the tiny vocabulary, `cat` are three."""
    split = _split(("The river, a  cat.",))
    (words,) = words_of(tiny_text_backbone(), split, 32)
    assert [(word.text, word.end - word.start) for word in words] == [
        ("", 1),
        ("The", 1),
        ("river", 1),
        (",", 1),
        ("a", 1),
        ("cat", 3),
        (".", 1),
        ("", 1),
    ]
    assert "".join(word.space + word.text for word in words) == "The river, a  cat."


def test_words_cover_the_encoded_row(tiny_text_backbone) -> None:
    backbone = tiny_text_backbone()
    split = _split(("the old river near winter",) * 2, ("some violin", "a very very old kitchen"))
    examples = backbone.encode(split, max_length=9, image_size=0)
    for row, words in enumerate(words_of(backbone, split, 9)):
        assert words[0].start == 0
        assert words[-1].end == len(examples.columns["input_ids"][row])
        assert all(a.end == b.start for a, b in itertools.pairwise(words))
        assert [word.sequence for word in words][:2] == [-1, 0]
        assert {word.sequence for word in words} == {-1, 0, 1}


def test_rows_without_texts_are_refused(tiny_text_backbone) -> None:
    with pytest.raises(BackboneError, match="as in a pack"):
        words_of(tiny_text_backbone(), Split(labels=np.zeros(1)), 32)


def test_the_nearest_words_come_first_and_the_far_ones_not_at_all(tiny_text_backbone) -> None:
    backbone = tiny_text_backbone()
    table = backbone.model.get_input_embeddings().weight.detach().numpy()
    tokens = backbone.tokenizer.convert_ids_to_tokens(range(len(table)))
    whole = [at for at, token in enumerate(tokens) if token.isalpha() and len(token) > 2]
    asked = tokens.index("river")
    centred = table - table[whole].mean(0)
    cosines = centred @ centred[asked] / np.linalg.norm(centred, axis=1)
    cosines /= np.linalg.norm(centred[asked])
    order = sorted((at for at in whole if at != asked), key=lambda at: -cosines[at])
    near = nearest_words(backbone, [asked], count=4, least_cosine=-1.0)
    assert near == {asked: tuple(order[:4])}
    least = float(cosines[order[1]]) - 1e-4
    assert nearest_words(backbone, [asked], count=4, least_cosine=least)[asked] == tuple(order[:2])
    assert nearest_words(backbone, [asked], count=4, least_cosine=0.99) == {}


def test_only_whole_words_stand_in_for_a_word(tiny_text_backbone) -> None:
    backbone = tiny_text_backbone()
    ids = list(range(len(backbone.tokenizer)))
    near = nearest_words(backbone, ids, count=50, least_cosine=-1.0)
    tokens = {t for found in near.values() for t in backbone.tokenizer.convert_ids_to_tokens(found)}
    assert "river" in tokens
    assert "the" in tokens
    assert not [token for token in tokens if not token.isalpha() or len(token) < 3]
