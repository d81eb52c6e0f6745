"""What a selector means, and what it never means."""

from __future__ import annotations

import pytest

from metaft.errors import TaskError
from metaft.tasks.card import load_cards
from metaft.tasks.select import (
    TARGETS,
    card_named,
    closest_names,
    forbidden_in_shipped_priors,
    select_tasks,
)


def test_names_and_globs() -> None:
    assert select_tasks("glue/q*") == ["glue/qnli", "glue/qqp"]
    assert len(select_tasks("glue/*")) == 8
    assert select_tasks("glue/*,-glue/q*,-glue/mnli") == [
        *("glue/cola", "glue/mrpc", "glue/rte", "glue/sst2", "glue/stsb")
    ]


def test_tasks_come_in_the_order_in_which_they_are_named() -> None:
    assert select_tasks("trec, sms_spam,trec") == ["trec", "sms_spam"]
    assert select_tasks("trec,glue/q*,sms_spam") == ["trec", "glue/qnli", "glue/qqp", "sms_spam"]


def test_an_exclusion_holds_wherever_it_stands() -> None:
    assert select_tasks("-trec,trec,sms_spam") == ["sms_spam"]


def test_bundled_without_the_target_among_them() -> None:
    assert select_tasks("bundled") == [
        *("convention_2012_party", "optdigits", "sms_spam", "sotu_party"),
        *("uci_sentences_amazon", "uci_sentences_imdb", "uci_sentences_yelp"),
        *("vader_amazon", "wordnet_noun_category", "wordnet_verb_category"),
    ]
    assert select_tasks("bundled", modality="image") == ["optdigits"]


def test_kind() -> None:
    assert select_tasks("kind:regression") == [
        *("glue/stsb", "semeval_sts", "sick_relatedness"),
        *("vader_amazon", "vader_movies", "vader_nyt", "vader_tweets"),
    ]


@pytest.mark.parametrize(
    "selector",
    ["all", pytest.param("mirror", id="in-mirror"), "bundled", "*", "kind:classification"],
)
def test_groups_hold_no_target(selector: str) -> None:
    chosen = select_tasks(selector)
    assert not TARGETS & set(chosen)
    assert chosen


def test_a_target_is_selected_by_its_name() -> None:
    assert select_tasks("bundled,fashion_mnist", modality="image") == ["optdigits", "fashion_mnist"]
    assert select_tasks("fashion_mnist,trec,-fashion*") == ["trec"]


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("no_such_task", "no_such_task"),
        ("imbd", "Did you mean imdb"),
        ("glue/sst", "Did you mean glue/sst2"),
        ("", "selects no task"),
        ("trec,-trec", "selects no task"),
        ("kind:clustering", "kind:clustering"),
    ],
)
def test_a_selector_that_means_nothing_is_refused(selector: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        select_tasks(selector)


def test_the_message_names_the_modality() -> None:
    with pytest.raises(TaskError, match="of modality image"):
        select_tasks("trec", modality="image")


def test_forbidden_are_the_targets_and_what_shares_texts_with_them() -> None:
    forbidden = {name for name in load_cards() if forbidden_in_shipped_priors(name)}
    assert forbidden == TARGETS | {"uci_sentences_imdb", "conll2003_entity_typing"}
    assert not forbidden_in_shipped_priors("glue/sst2")


def test_cards_by_name() -> None:
    assert card_named("glue/sst2").hub_config == "sst2"
    with pytest.raises(TaskError, match="Did you mean glue/sst2"):
        card_named("glue/sst-2")


def test_closest_names() -> None:
    assert closest_names("ag-news") == ["ag_news"]
    assert closest_names("/data/my.csv") == []
