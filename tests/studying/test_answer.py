from __future__ import annotations

from metaft.studying.answer import state_answer, state_factor
from metaft.studying.report import build_study_report

FREEZING = {"none": {}, "half": {"frozen_fraction": 0.5}}


def test_nothing_is_said_of_nothing() -> None:
    assert state_answer([]) == state_factor([], []) == "Nothing can be compared yet."


def test_no_difference_is_said_with_the_largest(made_up) -> None:
    scores = {f"t{at}": {("none",): 0.6, ("half",): 0.61 if at < 5 else 0.57} for at in range(6)}
    report, _ = build_study_report(*made_up({"freezing": FREEZING}, scores))
    assert report.answer.startswith(
        "Over 6 datasets, the one level is not shown to differ from its reference; the largest "
        "mean difference is half less none (freezing) +0.3 points (p = "
    )


def test_what_is_worse_is_named(made_up) -> None:
    scores = {f"t{at}": {("none",): 0.6, ("half",): 0.5 - at / 500} for at in range(8)}
    report, _ = build_study_report(*made_up({"freezing": FREEZING}, scores))
    assert "shown to differ from the reference are, worse: half less none" in report.answer


def test_levels_over_other_datasets_are_told_apart(made_up) -> None:
    factors = {"freezing": {**FREEZING, "all": {"frozen_fraction": 1.0}}}
    scores = {f"t{at}": {("none",): 0.6, ("half",): 0.7, ("all",): 0.5} for at in range(2)}
    scores["t9"] = {("none",): 0.6, ("half",): 0.8}  # type: ignore[assignment]
    verdict = build_study_report(*made_up(factors, scores))[0].factors[0].verdict
    assert "3 datasets are too few to show a difference; on average half" in verdict
    assert "2 datasets are too few to show a difference; on average all" in verdict
