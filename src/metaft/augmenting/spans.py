"""Spans: a text before and after a change, cut where something was done to it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from metaft.finetuning.text_augmentation import Piece, TextAugmenter

BETWEEN = "  |  "
"""Stands between the texts of a pair."""

Mark = Literal["kept", "replaced", "inserted", "moved", "gone"]


@dataclass(frozen=True, slots=True)
class Span:
    """A word with the space before it.

    Attributes:
        space: What stands before it.
        text: The word.
        mark: What was done to it; on the left side what is replaced, moved or gone.
    """

    space: str
    text: str
    mark: Mark


def spans_of(
    augmenter: TextAugmenter, row: int, epoch: int, tokenizer: Any
) -> tuple[list[Span], list[Span]]:
    """Return a row before and after its change in an epoch."""
    before = [piece for piece in augmenter.pieces[row] if piece.word.sequence >= 0]
    after = [piece for piece in augmenter.change(row, epoch) if piece.word.sequence >= 0]
    marks = _marks(before, after)
    left = [Span(_space(p, q), p.word.text, m) for p, q, m in _with_last(before, marks[0])]
    right = [Span(_space(p, q), _text(p, tokenizer), m) for p, q, m in _with_last(after, marks[1])]
    return left, right


def text_of(spans: Sequence[Span]) -> str:
    """Return what spans say as one text; those of a pair follow each other."""
    return "".join((" " if s.space == BETWEEN else s.space) + s.text for s in spans)


def _marks(before: Sequence[Piece], after: Sequence[Piece]) -> tuple[list[Mark], list[Mark]]:
    """Say what became of every word before, and where every word after came from."""
    old = [_place(piece) for piece in before]
    own = [piece for piece in after if piece.change != "inserted"]
    blocks = difflib.SequenceMatcher(None, old, [_place(p) for p in own], autojunk=False)
    stayed = {at for block in blocks.get_matching_blocks() for at in old[block.a :][: block.size]}
    replaced = {_place(piece) for piece in own if piece.change == "replaced"}
    left = {_place(piece) for piece in own}

    def mark(place: tuple[int, int]) -> Mark:
        if place not in left:
            return "gone"
        if place in replaced:
            return "replaced"
        return "kept" if place in stayed else "moved"

    return [mark(at) for at in old], [
        "inserted" if piece.change == "inserted" else mark(_place(piece)) for piece in after
    ]


def _place(piece: Piece) -> tuple[int, int]:
    return piece.word.sequence, piece.word.start


def _with_last(
    pieces: Sequence[Piece], marks: Sequence[Mark]
) -> list[tuple[Piece, Piece | None, Mark]]:
    """Return every piece with the one before it."""
    return list(zip(pieces, [None, *pieces[:-1]], marks, strict=True))


def _space(piece: Piece, last: Piece | None) -> str:
    """Return the space of the text where the two stood together there, else one space."""
    if last is None:
        return ""
    if last.word.sequence != piece.word.sequence:
        return BETWEEN
    is_own = piece.change != "inserted" and last.change != "inserted"
    return piece.word.space if is_own and last.word.end == piece.word.start else " "


def _text(piece: Piece, tokenizer: Any) -> str:
    if piece.token is None:
        return piece.word.text
    text: str = tokenizer.decode([piece.token]).strip()
    return text.capitalize() if piece.word.text[:1].isupper() else text
