from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from metaft.comparing.report import build_report
from metaft.errors import RunFailedError, UserError

if TYPE_CHECKING:
    from tests.comparing.conftest import Comparison

TWO = {
    "mail": {"steady": [0.8, 0.82], "plain": [0.7, 0.74]},
    "news": {"steady": [0.9, 0.9], "plain": [0.9, 0.9]},
}


def _many(count: int) -> dict:
    return {f"t{at}": {"plain": [0.7], "learned": [0.71 + at / 100]} for at in range(count)}


def test_plain_is_the_reference_wherever_it_stands(comparison: Comparison) -> None:
    report = build_report(*comparison(TWO))
    assert report.reference == "plain"
    assert [judgement.method for judgement in report.judgements] == ["steady"]
    assert report.judgements[0].points.mean_difference == pytest.approx(4.5)


def test_first_method_is_the_reference_without_plain(comparison: Comparison) -> None:
    scores = {"mail": {"steady": [0.8], "learned": [0.7]}}
    assert build_report(*comparison(scores)).reference == "steady"


def test_any_method_can_be_the_reference(comparison: Comparison) -> None:
    plan, traces = comparison(TWO)
    report = build_report(plan, traces, reference="steady")
    assert report.reference == "steady"
    assert [judgement.method for judgement in report.judgements] == ["plain"]
    assert report.judgements[0].points.mean_difference == pytest.approx(-4.5)
    assert [report.tasks[0].of(name).difference_points for name in ("steady", "plain")] == (
        pytest.approx([0, -9])
    )
    with pytest.raises(UserError, match="'learned' is none of the methods"):
        build_report(plan, traces, reference="learned")


def test_few_datasets_are_called_too_few(comparison: Comparison) -> None:
    report = build_report(*comparison(TWO))
    assert "2 datasets cannot show a difference" in report.notices[0]
    assert "p = 0.5" in report.notices[0]
    five, six = (build_report(*comparison(_many(count))) for count in (5, 6))
    assert any("p = 0.0625" in notice for notice in five.notices)
    assert not any("cannot show" in notice for notice in six.notices)


def test_seen_tasks_are_left_out_of_the_headline(comparison: Comparison) -> None:
    report = build_report(*comparison(_many(8), seen=["t0", "t1"]))
    assert report.judgements[0].points.pairs == 6
    assert report.judgements_with_seen[0].points.pairs == 8
    assert [task.is_seen for task in report.tasks] == [True, True] + [False] * 6
    assert any("2 of 8 tasks" in notice for notice in report.notices)


def test_without_seen_tasks_there_is_one_set_of_tests(comparison: Comparison) -> None:
    report = build_report(*comparison(_many(6)))
    assert report.judgements_with_seen == ()


@pytest.mark.filterwarnings("error")
def test_all_tasks_seen_leaves_an_empty_headline(comparison: Comparison) -> None:
    report = build_report(*comparison(_many(6), seen=[f"t{at}" for at in range(6)]))
    assert report.judgements[0].points.pairs == 0
    assert report.judgements_with_seen[0].points.pairs == 6
    assert "0 datasets" in report.notices[0]


def test_missing_seeds_and_failures_are_told(comparison: Comparison) -> None:
    scores = {"mail": {"plain": [0.7, 0.7], "learned": ["diverged", 0.8]}}
    report = build_report(*comparison(scores, missing=[("mail", "plain", 1)]))
    assert any("Not all 2 seeds are there for mail" in notice for notice in report.notices)
    assert any("1 run failed" in notice for notice in report.notices)


def test_datasets_without_a_finite_score_are_told(comparison: Comparison) -> None:
    scores = {**_many(7), "t0": {"plain": [0.7], "learned": [float("nan")]}}
    report = build_report(*comparison(scores))
    assert report.judgements[0].points.pairs == 6
    assert any("out of the tests: 1 of learned less plain." in told for told in report.notices)
    whole = build_report(*comparison(_many(7)))
    assert not any("not finite" in told for told in whole.notices)


def test_problem_of_the_recording_is_the_reason(comparison: Comparison) -> None:
    missing = [("news", "plain", 0), ("news", "plain", 1)]
    plan, traces = comparison(TWO, missing=missing)
    report = build_report(plan, traces, problems={"news": "it cannot be loaded"})
    assert report.left_out == {"news": "it cannot be loaded"}


def test_nothing_recorded_is_a_failed_comparison(comparison: Comparison) -> None:
    plan, _ = comparison(TWO)
    with pytest.raises(RunFailedError, match="nothing to compare: mail: no seed"):
        build_report(plan, {})


def test_mapping_holds_plain_values(comparison: Comparison) -> None:
    values = build_report(*comparison(TWO)).to_mapping()
    assert values["tasks"][0]["results"][0]["recipe"]["learning_rate"] == 1e-4
    assert values["tasks"][0]["results"][0]["runs"][1]["trace_id"] == "mail/steady/1"
    assert values["judgements"][0]["points"]["win_tie_loss"] == {"wins": 1, "ties": 1, "losses": 0}


def test_a_correction_needs_more_datasets(comparison: Comparison) -> None:
    scores = {
        task: by_method | {"third": by_method["plain"]} for task, by_method in _many(6).items()
    }
    (notice,) = [n for n in build_report(*comparison(scores)).notices if "cannot show" in n]
    assert "needs 7 to reach .05 after a correction for 2 comparisons" in notice
