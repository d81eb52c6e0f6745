from __future__ import annotations

import pytest

from metaft.finetuning.answer_scores import is_exact, normalised, score_answers, word_f1


@pytest.mark.parametrize(
    ("text", "compared"),
    [
        ("The Cat!", "cat"),
        ("  a   dog,  an owl ", "dog owl"),
        ("theatre", "theatre"),
        ("U.S.", "us"),
        ("An", ""),
        ("50 % \u00bbhalf\u00ab", "50 \u00bbhalf\u00ab"),  # only ASCII punctuation goes
    ],
)
def test_answers_are_compared_by_the_official_rules(text: str, compared: str) -> None:
    assert normalised(text) == compared


@pytest.mark.parametrize(
    ("answer", "right", "f1"),
    [
        ("the Denver Broncos", "Denver Broncos", 1.0),
        ("Denver", "Denver Broncos", 2 / 3),
        ("in Denver in", "in Denver", 0.8),
        ("Panthers", "Denver Broncos", 0.0),
        ("", "Denver", 0.0),
        ("", "", 1.0),
        ("the", "", 1.0),
    ],
)
def test_word_f1(answer: str, right: str, f1: float) -> None:
    assert word_f1(answer, right) == pytest.approx(f1)


def test_the_best_of_several_right_answers_counts() -> None:
    scores = score_answers(
        ["Santa Clara", "Levi", ""], [["California", "Santa Clara"], ["Levi's Stadium"], []]
    )
    assert scores["exact_match"] == pytest.approx(2 / 3)
    assert scores["f1"] == pytest.approx(2 / 3)
    assert is_exact("levis", "Levi's")
    assert score_answers(["x"], [[]]) == {"exact_match": 0.0, "f1": 0.0}
