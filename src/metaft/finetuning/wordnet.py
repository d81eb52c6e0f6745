"""WordNet: synonyms of English words, where nltk and its corpus are installed.

Source: Miller (1995), WordNet: A Lexical Database for English; as in Wei & Zou (2019), EDA.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metaft.backbones.text import TextBackbone
from metaft.backbones.words import whole_words
from metaft.errors import MissingExtraError

_GET_CORPUS = "python -m nltk.downloader wordnet"
_OR_ELSE = "or take synonyms, which come from the backbone"


def load_wordnet() -> Any:
    """Return nltk's reader of WordNet.

    Raises:
        MissingExtraError: If nltk or its corpus is not installed.
    """
    try:
        from nltk.corpus import wordnet
    except ImportError as error:
        raise MissingExtraError(
            "the augmentation wordnet needs the Python package nltk, which is not installed",
            f"Install it (pip install nltk) and its corpus ({_GET_CORPUS}), {_OR_ELSE}",
        ) from error
    try:
        wordnet.ensure_loaded()
    except LookupError as error:
        raise MissingExtraError(
            "the augmentation wordnet needs the corpus wordnet of nltk, which is not found",
            f"Get it ({_GET_CORPUS}), {_OR_ELSE}",
        ) from error
    return wordnet


def synonyms_in_wordnet(
    backbone: TextBackbone, token_ids: Sequence[int], *, count: int
) -> Mapping[int, tuple[int, ...]]:
    """Return for words of one token their synonyms that are one token, too.

    So a word is replaced in its place, as by a neighbour in the embedding table.

    Args:
        backbone: Knows which words are one token.
        token_ids: Of words of one token each.
        count: Synonyms of each at most.

    Returns:
        Token -> its synonyms, those of the commonest sense first; tokens without any are left
        out.

    Raises:
        MissingExtraError: See `load_wordnet`.
    """
    reader, tokenizer = load_wordnet(), backbone.tokenizer
    size = backbone.model.get_input_embeddings().weight.shape[0]
    token_of = {tokenizer.decode([token]).strip(): token for token in whole_words(tokenizer, size)}
    found = {}
    for token in token_ids:
        word = tokenizer.decode([token]).strip().lower()
        known = (token_of[name] for name in _synonyms_of(word, reader) if name in token_of)
        near = tuple(dict.fromkeys(other for other in known if other != token))
        if near:
            found[token] = near[:count]
    return found


def _synonyms_of(word: str, reader: Any) -> Iterator[str]:
    """Yield the other words of a word's senses, the commonest sense first.

    Senses that only its base form has are left out: their words have other endings.
    """
    for sense in reader.synsets(word):
        names = [name.lower() for name in sense.lemma_names()]
        if word in names:
            yield from (name for name in names if name != word)
