"""Words of encoded texts, and which words stand near each other in the embedding table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from metaft.backbones.text import TextBackbone
from metaft.errors import BackboneError
from metaft.tasks.task import Split

_CONTINUES = "##"  # Marks a token that goes on with a word (WordPiece).
_BEGINS = ("\u0120", "\u2581")  # Mark one that begins a word (byte-level BPE, SentencePiece).
_SHORTEST = 3  # Letters of a word that may stand in for another one.
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Word:
    """A word of an encoded row, or a token that stands for none, such as [SEP].

    Attributes:
        start, end: Its tokens are `[start, end)`.
        sequence: 0 for the text, 1 for its pair, -1 for tokens between them.
        text: As it was written; empty for a token between.
        space: What stood before it in the text.
    """

    start: int
    end: int
    sequence: int
    text: str
    space: str


def words_of(backbone: TextBackbone, split: Split, max_length: int) -> list[tuple[Word, ...]]:
    """Return the words of every row, as `backbone.encode` cuts them into tokens.

    Raises:
        BackboneError: If texts or tokenizer are missing, or the tokenizer knows no words.
    """
    if backbone.tokenizer is None or split.texts is None:
        raise BackboneError(
            f"the words of texts are asked for, but {backbone.identity!r} came without texts or "
            "tokenizer, as in a pack",
            "Set augmentation to none",
        )
    columns = [split.texts] if split.text_pairs is None else [split.texts, split.text_pairs]
    encoded = backbone.tokenizer(
        *(list(column) for column in columns),
        truncation=True,
        max_length=backbone.longest(max_length),
    )
    if not encoded.encodings:
        raise BackboneError(
            f"the tokenizer of {backbone.identity!r} does not tell words apart",
            "Set augmentation to none, or choose a backbone with a fast tokenizer",
        )
    rows = zip(*columns, strict=True)
    return [
        tuple(_words_in(row, texts)) for row, texts in zip(encoded.encodings, rows, strict=True)
    ]


def nearest_words(
    backbone: TextBackbone, token_ids: Sequence[int], *, count: int, least_cosine: float
) -> Mapping[int, tuple[int, ...]]:
    """Return for words of one token the words nearest to them in the embedding table.

    Words that occur in like contexts stand near each other there, so these are mostly synonyms
    and other forms of the word, in any language that the backbone has read; a few are
    antonyms. The mean of the table is taken off first: it says how frequent a token is.

    Args:
        backbone: Pretrained.
        token_ids: Of words of one token each.
        count: Neighbours of each at most.
        least_cosine: Of the centred embeddings.

    Returns:
        Token -> its neighbours, the nearest first; tokens without any are left out.
    """
    table = backbone.model.get_input_embeddings().weight.detach().float().cpu()
    whole = torch.tensor(whole_words(backbone.tokenizer, len(table)), dtype=torch.long)
    if not len(whole) or not len(token_ids):
        return {}
    mean = table[whole].mean(0)
    allowed = functional.normalize(table[whole] - mean)
    found: dict[int, tuple[int, ...]] = {}
    for at in range(0, len(token_ids), _ROWS_AT_ONCE):
        asked = list(token_ids[at : at + _ROWS_AT_ONCE])
        cosines = functional.normalize(table[asked] - mean) @ allowed.T
        nearest = cosines.topk(min(count + 1, len(whole)), dim=1)
        rows = zip(asked, nearest.values.tolist(), whole[nearest.indices].tolist(), strict=True)
        for token, values, others in rows:
            pairs = zip(values, others, strict=True)
            near = [other for value, other in pairs if value >= least_cosine and other != token]
            if near:
                found[token] = tuple(near[:count])
    return found


def _words_in(row: Any, texts: tuple[str, ...]) -> Iterator[Word]:
    """Yield the words of one row; tokens of the same word stand together."""
    places = list(zip(row.sequence_ids, row.word_ids, strict=True))
    start, written = 0, [0] * len(texts)
    for end in range(1, len(places) + 1):
        if end < len(places) and places[end] == places[start] and places[start][1] is not None:
            continue
        sequence = places[start][0]
        if sequence is None or places[start][1] is None:
            yield Word(start, end, -1, "", "")
        else:
            first, last = row.offsets[start][0], row.offsets[end - 1][1]
            text = texts[sequence]
            given = text[first:last]
            first += len(given) - len(given.lstrip())  # Some count the space before to the word.
            space = text[written[sequence] : first]
            yield Word(start, end, sequence, text[first:last], space)
            written[sequence] = last
        start = end


def whole_words(tokenizer: Any, size: int) -> list[int]:
    """Return the tokens that are whole words of letters."""
    known = min(size, len(tokenizer))
    tokens = [token or "" for token in tokenizer.convert_ids_to_tokens(range(known))]
    special = set(tokenizer.all_special_ids)
    marks_begin = sum(token.startswith(_BEGINS) for token in tokens) > known // 10
    return [
        number
        for number, token in enumerate(tokens)
        if number not in special and _is_whole(token, marks_begin)
    ]


def _is_whole(token: str, marks_begin: bool) -> bool:
    if marks_begin:
        return token.startswith(_BEGINS) and token[1:].isalpha() and len(token) > _SHORTEST
    is_part = token.startswith(_CONTINUES)
    return not is_part and token.isalpha() and len(token) >= _SHORTEST
