"""Every shipped card, and every way a card can be wrong."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from metaft.errors import TaskError
from metaft.tasks.card import (
    card_file_name,
    cards_folder,
    load_cards,
    read_card,
    relatives_of,
    sharing_texts_with,
)

VALID = {
    "name": "group/some_task",
    "kind": "classification",
    "modality": "text",
    "metric": "accuracy",
    "domain": "tests",
    "licence": "CC0",
    "source": "written here",
}
STUDIED = (
    *("glue/sst2", "glue/mnli", "glue/qqp", "glue/qnli", "glue/cola", "glue/rte", "glue/mrpc"),
    *("glue/stsb", "imdb", "ag_news", "yelp_review_full", "conll2003", "ontonotes", "squad"),
    *("natural_questions", "cifar10", "fashion_mnist"),
)


def _write(folder: Path, **changes: object) -> Path:
    path = folder / "group__some_task.yaml"
    path.write_text(yaml.safe_dump({**VALID, **changes}))
    return path


def test_every_shipped_card_parses_and_is_named_after_its_task() -> None:
    cards = load_cards()
    assert len(cards) == len(list(cards_folder().glob("*.yaml"))) >= 141
    assert list(cards) == sorted(cards)
    for name, card in cards.items():
        assert card.name == name
        assert (cards_folder() / card_file_name(name)).is_file()
        assert "" not in (card.licence, card.source, card.domain)


def test_cards_are_read_once() -> None:
    assert load_cards() is load_cards()


def test_reading_every_card_is_quick() -> None:
    started = time.process_time()
    load_cards.__wrapped__()
    assert time.process_time() - started < 0.5  # 0.1 s alone on the machine it was written on


@pytest.mark.parametrize("name", STUDIED)
def test_what_the_studies_name_has_hub_id_revision_and_columns(name: str) -> None:
    card = load_cards()[name]
    assert card.hub_id is not None
    assert card.hub_id.count("/") == 1
    assert card.revision
    assert card.columns


def test_metrics_follow_the_kind() -> None:
    metrics = {card.kind: card.metric for card in load_cards().values()}
    assert metrics == {
        "classification": "accuracy",
        "pair_classification": "accuracy",
        "image_classification": "accuracy",
        "regression": "pearson",
        "ner": "entity_f1",
        "qa": "exact_match",
    }


def test_classes_have_names_and_regressions_none() -> None:
    for card in load_cards().values():
        if card.kind.endswith("classification"):
            assert len(set(card.label_names)) == len(card.label_names) >= 2, card.name
        if card.kind == "regression":
            assert card.label_names == ()


def test_relatives_are_known_and_mutual() -> None:
    cards = load_cards()
    for name in cards:
        relatives = relatives_of(name)
        assert name not in relatives
        assert relatives <= set(cards)
        assert all(name in relatives_of(other) for other in relatives)


def test_relatives_that_only_one_card_names() -> None:
    assert "yelp_review_full" in relatives_of("yelp_polarity")
    assert "yelp_review_full" not in load_cards()["yelp_polarity"].same_domain


def test_sharing_texts_is_less_than_being_related() -> None:
    assert sharing_texts_with("imdb") == {"uci_sentences_imdb"}
    assert {"uci_sentences_imdb", "glue/sst2"} <= relatives_of("imdb")
    assert sharing_texts_with("/no/such") == frozenset()


def test_a_card_comes_back_as_plain_values(tmp_path: Path) -> None:
    card = read_card(_write(tmp_path, label_names=["no", "yes"]))
    assert card.label_names == ("no", "yes")
    assert read_card(_write(tmp_path, **card.to_mapping())) == card


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"kind": "clustering"}, "kind: 'clustering'; allowed is one of classification"),
        ({"kind": ["qa"]}, r"kind: \['qa'\]"),
        ({"label_names": "yes"}, "label_names: 'yes'; allowed is a list of texts"),
        ({"label_names": [0, 1]}, "allowed is a list of texts"),
        ({"columns": {"txt": "a"}}, "allowed is a mapping of text, text_pair"),
        ({"splits": {"dev": "a"}}, "allowed is a mapping of train, validation, test"),
        ({"bundled": "yes"}, "allowed is true or false"),
        ({"baseline_score": 83.1}, "allowed is a number from -1 to 1"),
        ({"hub_id": 7}, "hub_id: 7; allowed is a text"),
        ({"name": "another"}, "belongs into another.yaml"),
    ],
)
def test_a_wrong_field_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        read_card(_write(tmp_path, **changes))


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "group__some_task.yaml"
    path.write_text(yaml.safe_dump({key: VALID[key] for key in VALID if key != "licence"}))
    with pytest.raises(TaskError, match="lacks the field 'licence'"):
        read_card(path)


@pytest.mark.parametrize("content", [b"- a\n- b\n", b"", b"a: [", b"name: \xff\xfe"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(TaskError, match="the task card"):
        read_card(path)


def test_one_wrong_card_stops_the_reading_of_all(tmp_path: Path) -> None:
    _write(tmp_path, colour="red")
    with pytest.raises(TaskError, match="unknown field"):
        load_cards(tmp_path)
