from __future__ import annotations

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from metaft.backbones.words import Word
from metaft.errors import MissingExtraError
from metaft.finetuning import text_augmentation, wordnet
from metaft.finetuning.augmentation import build_augmenter
from metaft.finetuning.loop import fine_tune
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.finetuning.text_augmentation import TextAugmenter, find_names, is_open
from metaft.recipes import TEXT_AUGMENTATIONS, Recipe
from metaft.tasks.task import Split

RECIPE = Recipe(
    learning_rate=1e-2,
    epochs=3,
    batch_size=8,
    precision="fp32",
    max_length=32,
    augmentation="synonyms+insertion+swap+deletion",
    augmentation_strength=0.4,
)
TEXTS = ("the old river was near 7 winter kitchen", "some violin not under a very old planet")


class Dictionary:
    """Stands in for WordNet: all nouns of the texts mean the same."""

    NAMES = ("river", "Violin", "planet", "winter", "kitchen", "old_man", "lawyers")

    def synsets(self, word: str) -> list[Dictionary]:
        return [self]

    def lemma_names(self) -> list[str]:
        return list(self.NAMES)


@pytest.fixture
def make_augmenter(tiny_text_backbone, monkeypatch: pytest.MonkeyPatch):
    """Return a factory of augmenters that always change a row, and find neighbours for all."""
    monkeypatch.setattr(wordnet, "load_wordnet", Dictionary)
    monkeypatch.setattr(text_augmentation, "CHANCE", 1.1)
    monkeypatch.setattr(text_augmentation, "LEAST_COSINE", -1.0)
    monkeypatch.setattr(text_augmentation, "MOST_COMMON_SHARE", 1.0)

    def build(names: str, texts=TEXTS, pairs=None, **fields) -> TextAugmenter:
        recipe = dataclasses.replace(RECIPE, augmentation=names, **fields)
        backbone = tiny_text_backbone()
        split = Split(labels=np.zeros(len(texts)), texts=texts, text_pairs=pairs)
        examples = backbone.encode(split, max_length=recipe.max_length, image_size=0)
        augmenter = build_augmenter(backbone, split, examples, recipe)
        assert isinstance(augmenter, TextAugmenter)
        return augmenter

    return build


def _words(augmenter: TextAugmenter, row: int, epoch: int) -> list[tuple[str, str]]:
    return [(p.word.text, p.change) for p in augmenter.change(row, epoch) if p.word.sequence >= 0]


def _ids(augmenter: TextAugmenter, rows: list[int], epoch: int) -> list[list[int]]:
    examples = augmenter.vary(np.array(rows), epoch)
    return [ids.tolist() for ids in examples.columns["input_ids"]]


@pytest.mark.parametrize("name", TEXT_AUGMENTATIONS)
def test_a_row_changes_with_seed_and_epoch_and_with_nothing_else(make_augmenter, name) -> None:
    augmenter, other = make_augmenter(name), make_augmenter(name)
    assert _ids(augmenter, [0, 1], 1) == _ids(other, [0, 1], 1)
    assert _ids(augmenter, [1, 0], 1) == _ids(augmenter, [0, 1], 1)[::-1]
    assert len({str(_ids(augmenter, [0], epoch)) for epoch in range(1, 9)}) > 3
    seeded = make_augmenter(name, seed=1)
    assert any(_ids(augmenter, [0], e) != _ids(seeded, [0], e) for e in range(4))


def test_synonyms_keep_the_length_and_say_what_they_replaced(make_augmenter) -> None:
    augmenter = make_augmenter("synonyms")
    words = _words(augmenter, 0, 1)
    assert [word for word, _ in words] == TEXTS[0].split()
    assert sum(change == "replaced" for _, change in words) == 3  # 40 % of seven open words
    (ids,), (plain,) = _ids(augmenter, [0], 1), [augmenter._examples.columns["input_ids"][0]]
    differ = [int(a) for a, b in zip(ids, plain, strict=True) if a != b]
    assert len(differ) == 3
    assert set(differ) <= set(augmenter.added.columns["input_ids"][0].tolist())


def test_wordnet_puts_synonyms_of_one_token_in_the_place_of_words(make_augmenter) -> None:
    augmenter = make_augmenter("wordnet", augmentation_strength=1.0)
    plain = TEXTS[0].split()
    words = _words(augmenter, 0, 1)
    assert [word for word, _ in words] == plain
    replaced = [word for word, change in words if change == "replaced"]
    assert sorted(replaced) == ["kitchen", "river", "winter"], "others are in no sense"
    (ids,), (before,) = _ids(augmenter, [0], 1), [augmenter._examples.columns["input_ids"][0]]
    new = {int(a) for a, b in zip(ids, before, strict=True) if a != b}
    allowed = {token for near in augmenter.listed.values() for token in near}
    assert new <= allowed
    assert allowed <= set(augmenter.added.columns["input_ids"][0].tolist())
    assert make_augmenter("synonyms").listed == {}


@pytest.mark.parametrize("is_installed", [False, True])
def test_without_wordnet_a_run_is_refused_before_any_work(
    tiny_text_backbone, tiny_task, is_installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing:
        def ensure_loaded(self) -> None:
            raise LookupError("Resource wordnet not found")

    corpora = SimpleNamespace(wordnet=Missing()) if is_installed else None
    monkeypatch.setitem(sys.modules, "nltk", SimpleNamespace(corpus=corpora))
    monkeypatch.setitem(sys.modules, "nltk.corpus", corpora)
    problem = "corpus wordnet of nltk" if is_installed else "package nltk"
    with pytest.raises(MissingExtraError, match=problem) as caught:
        fine_tune(
            tiny_task(), tiny_text_backbone(), dataclasses.replace(RECIPE, augmentation="wordnet")
        )
    assert "python -m nltk.downloader wordnet" in str(caught.value)


def test_very_common_words_have_no_synonyms(
    make_augmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_augmentation, "MOST_COMMON_SHARE", 0.5)
    augmenter = make_augmenter("synonyms")
    token = augmenter._examples.columns["input_ids"][0][2]  # "old", which is in both rows
    assert TEXTS[0].split()[1] == "old"
    assert token not in augmenter.neighbours
    assert len(augmenter.neighbours) > 4


def test_insertion_lengthens_swap_keeps_and_deletion_shortens(make_augmenter) -> None:
    plain = TEXTS[0].split()
    inserted = _words(make_augmenter("insertion"), 0, 1)
    assert [word for word, change in inserted if change == "kept"] == plain
    assert sum(change == "inserted" for _, change in inserted) == 3
    swapped = [word for word, _ in _words(make_augmenter("swap"), 0, 3)]
    assert sorted(swapped) == sorted(plain)
    assert swapped != plain
    left = [word for word, _ in _words(make_augmenter("deletion"), 0, 1)]
    assert len(left) == len(plain) - 3
    assert left == [word for word in plain if word in left]


def test_numbers_and_negations_stay(make_augmenter) -> None:
    augmenter = make_augmenter(RECIPE.augmentation, augmentation_strength=1.0)
    for epoch in range(20):
        assert ("7", "kept") in _words(augmenter, 0, epoch)
        assert ("not", "kept") in _words(augmenter, 1, epoch)


def test_a_short_text_stays_as_it_is(make_augmenter) -> None:
    augmenter = make_augmenter(RECIPE.augmentation, texts=("old river 42", TEXTS[0]))
    assert _words(augmenter, 0, 1) == [(word, "kept") for word in ("old", "river", "42")]


def test_something_is_left_of_every_text(make_augmenter) -> None:
    augmenter = make_augmenter("deletion", augmentation_strength=1.0)
    assert all(len(_words(augmenter, 0, epoch)) >= 2 for epoch in range(5))


def test_words_stay_in_their_text_of_a_pair(make_augmenter) -> None:
    pairs = ("some lawyer with engine under winter",) * 2
    augmenter = make_augmenter("insertion+swap+deletion", pairs=pairs)
    for epoch in range(20):
        pieces = augmenter.change(0, epoch)
        order = [piece.word.sequence for piece in pieces]
        assert [s for s, t in zip(order, [None, *order], strict=False) if s != t] == [
            -1,
            0,
            -1,
            1,
            -1,
        ]
        columns = augmenter._columns_of(0, pieces)
        assert len(columns["input_ids"]) == len(columns["token_type_ids"])
        assert columns["token_type_ids"].tolist() == sorted(columns["token_type_ids"].tolist())


def test_a_full_row_takes_no_more_words(make_augmenter) -> None:
    augmenter = make_augmenter("insertion", max_length=9)
    assert all(len(_ids(augmenter, [0], epoch)[0]) <= 9 for epoch in range(5))


def _sentence(text: str) -> list[Word]:
    return [Word(at, at + 1, 0, word, " ") for at, word in enumerate(text.split())]


def test_names_are_what_has_a_capital_inside_sentences() -> None:
    rows = [
        _sentence("Yesterday we met Ada in Paris . Ada was late and the paris bus was not"),
        _sentence("In paris it rained"),
        _sentence("Stocks Fall As Oil Price Climbs"),  # Capitals of a headline tell nothing.
    ]
    assert find_names(rows) == frozenset({"ada"})
    assert not is_open(_sentence("Ada")[0], frozenset({"ada"}))
    assert is_open(_sentence("bus")[0], frozenset({"ada"}))
    for word in ("B2", "UN", "easyJet", "7"):
        assert not is_open(_sentence(word)[0], frozenset())


@pytest.mark.parametrize(
    ("kind", "least"),
    [("classification", 0.8), ("pair_classification", 0.8), ("regression", 0.5)],
)
def test_it_learns_with_augmentation(tiny_text_backbone, tiny_task, kind, least: float) -> None:
    task = tiny_task(rows=64, kind=kind)
    recipe = dataclasses.replace(RECIPE, epochs=8, augmentation_strength=0.1)
    outcome = fine_tune(task, tiny_text_backbone(), recipe).outcome
    assert outcome.status == "ok"
    assert outcome.test[task.metric] > least


def test_an_augmented_run_repeats_and_is_another_one(tiny_text_backbone, tiny_task) -> None:
    def losses(recipe: Recipe) -> list[float]:
        outcome = fine_tune(task, backbone, recipe, deterministic=True).outcome
        return [record.train_loss for record in outcome.curve]

    task, backbone = tiny_task(rows=16), tiny_text_backbone()
    first = losses(RECIPE)
    assert losses(RECIPE) == first
    assert losses(dataclasses.replace(RECIPE, augmentation="none"))[0] != first[0]


def test_changed_rows_are_never_cached_and_the_others_are(tiny_text_backbone, tiny_task) -> None:
    task, backbone = tiny_task(rows=16), tiny_text_backbone()
    recipe = dataclasses.replace(RECIPE, frozen_fraction=0.5, epochs=1)
    cache = PrefixCache(task, backbone, recipes=[recipe])
    assert not cache.serves("train", recipe)
    assert cache.serves("validation", recipe)
    fine_tune(task, backbone, recipe, cache=cache)
    assert {key[0][0] for key in cache._states} == {"validation", "test"}
