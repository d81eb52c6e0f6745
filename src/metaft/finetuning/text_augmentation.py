"""Changing texts word by word: synonyms, insertion, swap, deletion.

Source: Wei & Zou (2019), EDA: Easy Data Augmentation Techniques. Synonyms come from the
backbone's own embedding table; those of a dictionary of English, WordNet, are a method of their
own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metaft.backbones.backbone import Examples
from metaft.backbones.text import TextBackbone
from metaft.backbones.words import Word, nearest_words, words_of
from metaft.finetuning.augmentation import CHANCE, Mixing, generator_of
from metaft.finetuning.wordnet import synonyms_in_wordnet
from metaft.recipes import Recipe
from metaft.tasks.task import Split

FEWEST_WORDS = 4
"""A text with fewer words that may be changed stays as it is: each of them carries too much."""

NEIGHBOURS = 5
LEAST_COSINE = 0.55
"""Nearest words that stand in for a word. Below this cosine more and more antonyms come in: in
MiniLM's table `good` has excellent at 0.58, bad at 0.54 and great at 0.53."""

MOST_COMMON_SHARE = 0.1
"""A word that stands in a larger share of the rows has no synonyms: it is a function word."""

# Words that turn a sentence round or count; other words around them may be changed.
_NEGATIONS = frozenset(
    re.findall(
        r"\w+",
        "no not never none nobody nothing nowhere neither nor without cannot hardly barely "
        "scarcely t nt don didn doesn isn wasn aren weren couldn wouldn shouldn hasn haven hadn "
        "won ain nicht kein keine keinen nie ohne ne pas jamais sans nunca sin non mai senza",
    )
)
_NUMBERS = frozenset(
    re.findall(
        r"\w+",
        "zero one two three four five six seven eight nine ten eleven twelve twenty thirty fifty "
        "hundred thousand million billion half first second third",
    )
)
_SENTENCE_END = re.compile(r"[.!?:\"\n]\s*$")
_MOSTLY_CAPITALISED = 0.6  # In such texts (headlines) capitals tell no names.

Neighbours = Mapping[int, tuple[int, ...]]
Change = Literal["kept", "replaced", "inserted"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A word of a changed row.

    Attributes:
        word: The one it was made from.
        token: What it became; None for the tokens of the word.
        change: What was done to it; a word that is gone is no piece.
        is_open: Whether it may be changed (again).
    """

    word: Word
    token: int | None = None
    change: Change = "kept"
    is_open: bool = False

    @property
    def length(self) -> int:
        """Return its tokens."""
        return 1 if self.token is not None else self.word.end - self.word.start


class TextAugmenter:
    """Changes the words of the training rows; see `Augmenter`.

    Numbers, negations, names and what holds no letter stay as they are and where they are.
    Words move within their own text, never between the texts of a pair.

    Attributes:
        pieces: The words of every row, before any change.
        neighbours: Token of a word -> tokens that may stand in for it.
        listed: The same by WordNet; empty where the recipe does not ask it.
    """

    def __init__(
        self, backbone: TextBackbone, split: Split, examples: Examples, recipe: Recipe
    ) -> None:
        self._recipe = recipe
        self._examples = examples
        self._longest = backbone.longest(recipe.max_length)
        rows = words_of(backbone, split, recipe.max_length)
        names = find_names(rows)
        self.pieces = [
            [Piece(word, is_open=is_open(word, names)) for word in words] for words in rows
        ]
        tokens = self._single_tokens()
        self.neighbours: Neighbours = nearest_words(
            backbone, tokens, count=NEIGHBOURS, least_cosine=LEAST_COSINE
        )
        self.listed: Neighbours = {}
        if "wordnet" in recipe.augmentations:
            self.listed = synonyms_in_wordnet(backbone, tokens, count=NEIGHBOURS)

    @property
    def added(self) -> Examples:
        """Return all neighbours, as one row."""
        near = (*self.neighbours.values(), *self.listed.values())
        tokens = sorted({token for some in near for token in some})
        return Examples({"input_ids": [np.array(tokens, dtype=np.int32)]}, np.array([len(tokens)]))

    def vary(self, rows: np.ndarray, epoch: int) -> Examples:
        """Return some rows as they are in an epoch."""
        changed = [self._columns_of(int(row), self.change(int(row), epoch)) for row in rows]
        columns = {name: [row[name] for row in changed] for name in self._examples.columns}
        return Examples(columns, np.array([len(ids) for ids in columns["input_ids"]]))

    def mix(self, rows: np.ndarray, epoch: int) -> Mixing | None:
        """Texts are not mixed."""
        return None

    def change(self, row: int, epoch: int) -> list[Piece]:
        """Return the words of a row as they are in an epoch."""
        pieces, rng = list(self.pieces[row]), generator_of(self._recipe, epoch, row)
        count = sum(piece.is_open for piece in pieces)
        if count < FEWEST_WORDS:
            return pieces
        times = max(1, round(self._recipe.augmentation_strength * count))
        for name in self._recipe.augmentations:
            if rng.random() < CHANCE:
                pieces = getattr(self, f"_{name}")(pieces, row, times, rng)
        return pieces

    def _synonyms(
        self, pieces: list[Piece], row: int, times: int, rng: np.random.Generator
    ) -> list[Piece]:
        """Put a neighbour in the place of some words."""
        return self._replace(self.neighbours, pieces, row, times, rng)

    def _wordnet(
        self, pieces: list[Piece], row: int, times: int, rng: np.random.Generator
    ) -> list[Piece]:
        """Put a synonym of WordNet in the place of some words."""
        return self._replace(self.listed, pieces, row, times, rng)

    def _replace(
        self,
        near: Neighbours,
        pieces: list[Piece],
        row: int,
        times: int,
        rng: np.random.Generator,
    ) -> list[Piece]:
        for at in _some(self._with_neighbours(near, pieces, row), times, rng):
            pieces[at] = self._neighbour_of(near, pieces[at], row, "replaced", rng)
        return pieces

    def _insertion(
        self, pieces: list[Piece], row: int, times: int, rng: np.random.Generator
    ) -> list[Piece]:
        """Put a neighbour of a word somewhere into the same text."""
        room = self._longest - sum(piece.length for piece in pieces)
        drawn = _some(self._with_neighbours(self.neighbours, pieces, row), min(times, room), rng)
        for source in [pieces[at] for at in drawn]:
            new = self._neighbour_of(self.neighbours, source, row, "inserted", rng)
            places = [at for at, p in enumerate(pieces) if p.word.sequence == new.word.sequence]
            pieces.insert(int(rng.choice(places)), new)
        return pieces

    def _swap(
        self, pieces: list[Piece], row: int, times: int, rng: np.random.Generator
    ) -> list[Piece]:
        """Let two words of a text change places."""
        for first in _some(_open_places(pieces), times, rng):
            sequence = pieces[first].word.sequence
            others = [at for at in _open_places(pieces) if pieces[at].word.sequence == sequence]
            second = int(rng.choice(others))
            pieces[first], pieces[second] = pieces[second], pieces[first]
        return pieces

    def _deletion(
        self, pieces: list[Piece], row: int, times: int, rng: np.random.Generator
    ) -> list[Piece]:
        """Leave some words out."""
        places = _open_places(pieces)
        gone = set(_some(places, min(times, len(places) - 1), rng))
        return [piece for at, piece in enumerate(pieces) if at not in gone]

    def _with_neighbours(self, near: Neighbours, pieces: Sequence[Piece], row: int) -> list[int]:
        places = _open_places(pieces)
        return [at for at in places if self._token_of(pieces[at], row) in near]

    def _neighbour_of(
        self,
        near: Neighbours,
        piece: Piece,
        row: int,
        change: Change,
        rng: np.random.Generator,
    ) -> Piece:
        tokens = near[self._token_of(piece, row)]
        return Piece(piece.word, tokens[int(rng.integers(len(tokens)))], change, is_open=True)

    def _token_of(self, piece: Piece, row: int) -> int:
        """Return the token of a word that has one; -1 for longer words and changed ones."""
        if piece.token is not None or piece.length > 1:
            return -1
        return int(self._examples.columns["input_ids"][row][piece.word.start])

    def _single_tokens(self) -> list[int]:
        """Return the tokens of words that are one, but for those of very common words."""
        rows: Counter[int] = Counter()
        for row, pieces in enumerate(self.pieces):
            rows.update({self._token_of(piece, row) for piece in pieces if piece.is_open})
        most = MOST_COMMON_SHARE * len(self.pieces)
        return sorted(token for token, count in rows.items() if token >= 0 and count <= most)

    def _columns_of(self, row: int, pieces: Sequence[Piece]) -> dict[str, np.ndarray]:
        """Return what the backbone takes for a changed row."""
        at = np.concatenate([_tokens_of(piece) for piece in pieces])
        given = self._examples.columns.items()
        columns = {name: np.asarray(column[row])[at] for name, column in given}
        place = 0
        for piece in pieces:
            if piece.token is not None:
                columns["input_ids"][place] = piece.token
            place += piece.length
        return columns


def find_names(rows: Sequence[Sequence[Word]]) -> frozenset[str]:
    """Return the words, in lower case, that are written with a capital within sentences.

    Args:
        rows: The words of every row.
    """
    capital: Counter[str] = Counter()
    small: Counter[str] = Counter()
    for words in rows:
        inner = list(_inside_sentences(words))
        capitalised = sum(word.text[0].isupper() for word in inner)
        if capitalised > _MOSTLY_CAPITALISED * len(inner):
            continue
        for word in inner:
            (capital if word.text[0].isupper() else small)[word.text.lower()] += 1
    return frozenset(name for name, count in capital.items() if count > small[name])


def is_open(word: Word, names: frozenset[str]) -> bool:
    """Say whether a word may be changed: no number, negation, name or punctuation may."""
    small = word.text.lower()
    is_abbreviation = word.text[1:] != small[1:]  # UN, easyJet
    protected = is_abbreviation or small in names or small in _NEGATIONS or small in _NUMBERS
    return word.sequence >= 0 and word.text.isalpha() and not protected


def _inside_sentences(words: Sequence[Word]) -> Iterator[Word]:
    """Yield the words that do not begin a sentence."""
    before = ""
    for word in words:
        if word.sequence < 0:
            before = ""
            continue
        if word.text.isalpha() and before and not _SENTENCE_END.search(before + word.space):
            yield word
        before = word.text


def _open_places(pieces: Sequence[Piece]) -> list[int]:
    return [at for at, piece in enumerate(pieces) if piece.is_open]


def _some(places: Sequence[int], times: int, rng: np.random.Generator) -> list[int]:
    """Draw so many different places, or all that there are."""
    count = max(0, min(times, len(places)))
    drawn: list[int] = rng.choice(places, size=count, replace=False).tolist() if count else []
    return drawn


def _tokens_of(piece: Piece) -> np.ndarray:
    """Return where a piece's tokens stand in its row."""
    return np.arange(piece.word.start, piece.word.start + piece.length)
