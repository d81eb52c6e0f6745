"""Encoding texts whose tokens count one by one: tagged words, and contexts of questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metaft.backbones.backbone import Examples
from metaft.tasks.task import Split

_OVERLAP_SHARE = 3
"""Windows of a long context share a third of their tokens, as 128 of 384 are usual."""


def examples_of(tokenizer: Any, encoded: Any, **more: Any) -> Examples:
    """Turn what a tokenizer gives into examples.

    Args:
        tokenizer: Says what its model takes.
        encoded: Its answer for all rows.
        more: Other fields of the examples.
    """
    names = [name for name in tokenizer.model_input_names if name != "attention_mask"]
    columns = {name: [np.asarray(row, dtype=np.int32) for row in encoded[name]] for name in names}
    lengths = np.array([len(row) for row in columns["input_ids"]], dtype=np.int64)
    truncated = sum(bool(row.overflowing) for row in encoded.encodings or ())
    return Examples(columns=columns, lengths=lengths, **{"truncated": truncated, **more})


def encode_words(tokenizer: Any, split: Split, longest: int) -> Examples:
    """Tokenise rows of words, and find the first token of each word.

    The words are put together with spaces and tokenised as any text is, so that a model sees in
    use what it saw in training.

    Args:
        tokenizer: A fast one, which knows the characters that each token covers.
        split: With `words`.
        longest: Tokens per row; later ones are cut off.
    """
    encoded = tokenizer(
        list(split.texts or ()), truncation=True, max_length=longest, return_offsets_mapping=True
    )
    places = [
        _first_tokens(words, np.asarray(offsets, dtype=np.int64))
        for words, offsets in zip(split.words or (), encoded["offset_mapping"], strict=True)
    ]
    return examples_of(tokenizer, encoded, places=places)


def encode_questions(tokenizer: Any, split: Split, longest: int) -> Examples:
    """Tokenise questions with their contexts; long contexts become several windows.

    Args:
        tokenizer: A fast one, which knows the characters that each token covers.
        split: With questions as `texts` and contexts as `text_pairs`.
        longest: Tokens per window, the question among them.
    """
    questions = _cut(tokenizer, list(split.texts or ()), longest // 2)
    # What a pair costs beside its tokens, and one for the context.
    room = longest - tokenizer.num_special_tokens_to_add(pair=True) - 1
    encoded = tokenizer(
        questions,
        list(split.text_pairs or ()),
        truncation="only_second",
        max_length=longest,
        stride=max(0, min(longest // _OVERLAP_SHARE, room - longest // 2)),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    places = [
        _characters(offsets, row.sequence_ids)
        for offsets, row in zip(encoded["offset_mapping"], encoded.encodings, strict=True)
    ]
    owners = np.asarray(encoded["overflow_to_sample_mapping"], dtype=np.int64)
    return examples_of(tokenizer, encoded, places=places, owners=owners, truncated=0)


def _first_tokens(words: Sequence[str], offsets: np.ndarray) -> np.ndarray:
    """Return the first token of each word `(words,)`, -1 where it has none.

    Args:
        words: Of a row, which stand in its text with one space between them.
        offsets: `(tokens, 2)` characters that each token covers; special ones cover none.
    """
    ends = np.cumsum([len(word) + 1 for word in words])  # The space behind each is its own.
    tokens = np.flatnonzero(offsets[:, 1] > offsets[:, 0])
    # By its last character: the first one may be the space before the word.
    word_of = np.searchsorted(ends, offsets[tokens, 1] - 1, side="right")
    first = np.full(len(words), -1, dtype=np.int64)
    found, at = np.unique(word_of, return_index=True)
    first[found] = tokens[at]
    return first


def _characters(offsets: Sequence[tuple[int, int]], parts: Sequence[int | None]) -> np.ndarray:
    """Return the characters of the context that each token covers `(tokens, 2)`, else -1."""
    characters = np.array(offsets, dtype=np.int64)
    characters[[part != 1 for part in parts]] = -1
    return characters


def _cut(tokenizer: Any, texts: list[str], tokens: int) -> list[str]:
    """Cut texts to so many tokens, so that the context has room beside the question."""
    encoded = tokenizer(
        texts,
        add_special_tokens=False,
        truncation=True,
        max_length=tokens,
        return_offsets_mapping=True,
    )
    return [
        text[: offsets[-1][1]] if row.overflowing else text
        for text, offsets, row in zip(
            texts, encoded["offset_mapping"], encoded.encodings, strict=True
        )
    ]
