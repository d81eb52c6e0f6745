"""Entities in tagged words: where they begin and end, and how many of them were found.

Reads BIO (both sorts), BIOES and BILOU. As in seqeval and the CoNLL-2000 script, tags that no
scheme allows are read leniently: an entity goes on while its type stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaft.finetuning.outcome import Scores

Entity = tuple[str, int, int]
"""(type, first word, last word)."""

_BEGINS = frozenset("BSU")  # B-egin, S-ingle or U-nit
_ENDS = frozenset("ESLU")  # E-nd or L-ast, S-ingle or U-nit
_GO_ON = frozenset("IEL")
_PREFIXES = frozenset("BIESLU")
OUTSIDE = "O"


def has_entities(label_names: Sequence[str]) -> bool:
    """Say whether tags mark entities; otherwise each word stands by itself (parts of speech)."""
    return set(label_names) <= {*_PREFIXES, OUTSIDE} or any(
        name[:1] in _PREFIXES and name[1:2] == "-" for name in label_names
    )


def parts_of(tag: str) -> tuple[str, str]:
    """Return the prefix and the type of a tag; what has no prefix is outside."""
    prefix, _, kind = tag.partition("-")
    return (prefix, kind) if prefix in _PREFIXES else (OUTSIDE, "")


def entities_in(tags: Sequence[str]) -> list[Entity]:
    """Return the entities of one row."""
    found: list[Entity] = []
    start, open_kind, open_prefix = 0, "", OUTSIDE
    for at, tag in enumerate([*tags, OUTSIDE]):
        prefix, kind = parts_of(tag)
        if open_prefix != OUTSIDE and _is_over(open_prefix, open_kind, prefix, kind):
            found.append((open_kind, start, at - 1))
            open_prefix = OUTSIDE
        if prefix == OUTSIDE:
            open_kind, open_prefix = "", OUTSIDE
            continue
        if open_prefix == OUTSIDE:
            start = at
        open_kind, open_prefix = kind, prefix
    return found


@dataclass(frozen=True, eq=False)
class TagSteps:
    """Which tags may stand where.

    Attributes:
        pairs: `(tags, tags)` whether the second may stand behind the first.
        first, last: `(tags,)` whether a row may begin or end with a tag.
    """

    pairs: np.ndarray
    first: np.ndarray
    last: np.ndarray


def scheme_steps(label_names: Sequence[str]) -> TagSteps:
    """Return what BIO allows, or BIOES (BILOU) where some tag marks an end or a single word."""
    count = len(label_names)
    if not has_entities(label_names):
        every = np.ones(count, dtype=bool)
        return TagSteps(np.ones((count, count), dtype=bool), every, every)
    tags = [parts_of(name) for name in label_names]
    has_ends = any(prefix in _ENDS for prefix, _ in tags)
    goes_on = np.array([prefix in _GO_ON for prefix, _ in tags])
    is_open = np.array([prefix in ("B", "I") for prefix, _ in tags])
    kinds = np.array([kind for _, kind in tags])
    within = is_open[:, None] & goes_on[None, :] & (kinds[:, None] == kinds[None, :])
    may_leave = ~is_open[:, None] if has_ends else np.ones((count, 1), dtype=bool)
    pairs = within | (may_leave & ~goes_on[None, :])
    return TagSteps(pairs, ~goes_on, ~is_open if has_ends else np.ones(count, dtype=bool))


def score_tags(
    predicted: Sequence[np.ndarray], given: Sequence[np.ndarray], label_names: Sequence[str]
) -> Scores:
    """Score tagged rows.

    Args:
        predicted: `(words,)` tag numbers of each row.
        given: The right ones.
        label_names: Tag number -> name.

    Returns:
        `entity_f1`, `precision`, `recall` over all entities (type and both ends must agree), in
        [0, 1], and `accuracy` over words. Where tags mark no entities, each word is one.
    """
    if has_entities(label_names):
        hits, found, wanted = _count_entities(predicted, given, label_names)
    else:
        hits = sum(int((a == b).sum()) for a, b in zip(predicted, given, strict=True))
        found = wanted = sum(len(row) for row in given)
    words = sum(len(row) for row in given)
    right = sum(int((a == b).sum()) for a, b in zip(predicted, given, strict=True))
    return {
        "entity_f1": _share(2 * hits, found + wanted),
        "precision": _share(hits, found),
        "recall": _share(hits, wanted),
        "accuracy": _share(right, words),
    }


def _count_entities(
    predicted: Sequence[np.ndarray], given: Sequence[np.ndarray], label_names: Sequence[str]
) -> tuple[int, int, int]:
    """Return how many entities are right, found, and there to be found."""
    hits = found = wanted = 0
    for answer, right in zip(predicted, given, strict=True):
        mine = set(entities_in([label_names[tag] for tag in answer]))
        theirs = set(entities_in([label_names[tag] for tag in right]))
        hits += len(mine & theirs)
        found += len(mine)
        wanted += len(theirs)
    return hits, found, wanted


def _is_over(open_prefix: str, open_kind: str, prefix: str, kind: str) -> bool:
    """Say whether an open entity ends before a tag."""
    if open_prefix in _ENDS or prefix == OUTSIDE or prefix in _BEGINS:
        return True
    return kind != open_kind


def _share(count: int, total: int) -> float:
    """Divide; nothing of nothing is 0."""
    return count / total if total else 0.0
