"""Which datasets the comparison of initialisations is made on: by rule, before any result.

Families are datasets that share texts or a domain, over any number of steps. A family is wholly
for testing, wholly for development (choosing rates and heads), or wholly for meta-training. One
dataset of a family is tested: one of `NAMED`, else that with the least SHA-256 of its name among
those that are English, short and large enough. Families of a named dataset come first, then small
families before large ones, so that most datasets are left to learn from; like sizes by SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaft.errors import TaskError
from metaft.tasks.card import TaskCard, load_cards, relatives_of
from metaft.tasks.episodes import EPISODE_KINDS
from metaft.tasks.mirror import MIRROR_VARIABLE
from metaft.tasks.select import forbidden_in_shipped_priors

NAMED = ("ag_news", "customer_reviews", "emotion", "sst5")
"""A target of metaft, and what SetFit was also measured on."""

TEST_DATASETS, DEVELOPMENT_DATASETS = 20, 5
MOST_WORDS = 40  # Median of a row: a comparison on two cores cannot afford long texts.
FEWEST_TRAIN_ROWS, FEWEST_TEST_ROWS = 1000, 200
FEWEST_ROWS_PER_CLASS = 40
_SALT = "comparison of initialisations: "


@dataclass(frozen=True)
class Split:
    """Names of datasets.

    Attributes:
        test: One of each of so many families.
        development: Likewise, of others.
        sources: Every dataset of every other family that a shipped prior may learn from.
    """

    test: tuple[str, ...]
    development: tuple[str, ...]
    sources: tuple[str, ...]


def split_datasets() -> Split:
    """Apply the rule to the mirror that METAFT_DATA names.

    Raises:
        TaskError: If it names none.
    """
    described = _described()
    usable = {name for name, facts in described.items() if _is_usable(facts)}
    families = sorted(_families(), key=lambda family: _place(family, usable))
    open_to_test = [family for family in families if family & usable]
    chosen = [_representative(family, usable) for family in open_to_test]
    reserved = TEST_DATASETS + DEVELOPMENT_DATASETS
    kept_apart = frozenset[str]().union(*open_to_test[:reserved])
    sources = sorted(
        name
        for name in described
        if name not in kept_apart and not forbidden_in_shipped_priors(name)
    )
    return Split(
        tuple(sorted(chosen[:TEST_DATASETS])),
        tuple(sorted(chosen[TEST_DATASETS:reserved])),
        tuple(sources),
    )


def _described() -> dict[str, Mapping[str, Any]]:
    """Return what the mirror's index says of each classification of texts."""
    path = Path(os.environ.get(MIRROR_VARIABLE, "")) / "text" / "index.json"
    if not path.is_file():
        raise TaskError(f"there is no {path}", f"Let {MIRROR_VARIABLE} name a mirror")
    index = json.loads(path.read_text())
    by_folder = {f"text/{facts['folder']}": facts for facts in index["tasks"].values()}
    return {
        name: by_folder[card.mirror_folder]
        for name, card in load_cards().items()
        if _gives_episodes(card) and card.mirror_folder in by_folder
    }


def _gives_episodes(card: TaskCard) -> bool:
    return card.kind in EPISODE_KINDS and card.modality == "text"


def _is_usable(facts: Mapping[str, Any]) -> bool:
    rows = facts["rows"]
    return (
        facts["kind"] == "classification"
        and facts["language"] == "en"
        and facts["words_median"] <= MOST_WORDS
        and rows["train"] >= FEWEST_TRAIN_ROWS
        and rows["test"] >= FEWEST_TEST_ROWS
        and rows["train"] >= FEWEST_ROWS_PER_CLASS * facts["num_labels"]
    )


def _families() -> list[frozenset[str]]:
    """Group all cards, those of other kinds too, by who is related to whom over any steps."""
    left, families = set(load_cards()), []
    while left:
        waiting, family = [min(left)], set[str]()
        while waiting:
            name = waiting.pop()
            if name not in family:
                family.add(name)
                waiting += relatives_of(name)
        families.append(frozenset(family))
        left -= family
    return families


def _place(family: frozenset[str], usable: set[str]) -> tuple[bool, int, str]:
    is_named = bool(family & set(NAMED))
    members = sorted(family & usable) or sorted(family)
    return (not is_named, len(family), _digest(min(members, key=_digest)))


def _representative(family: frozenset[str], usable: set[str]) -> str:
    named = sorted(family & set(NAMED))
    return named[0] if named else min(sorted(family & usable), key=_digest)


def _digest(name: str) -> str:
    return hashlib.sha256(f"{_SALT}{name}".encode()).hexdigest()
