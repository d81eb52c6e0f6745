from __future__ import annotations

import json
import re

import pytest

from metaft.errors import RunFailedError
from metaft.studying.combining import LeftOut
from metaft.studying.page import render_study_page
from metaft.studying.plan import StudyPlan
from metaft.studying.report import build_study_report
from metaft.studying.tables import left_out_table, level_table, study_tables
from metaft.studying.writing import write_study

FREEZING = {"none": {}, "half": {"frozen_fraction": 0.5}, "all": {"frozen_fraction": 1.0}}
TEN = {
    f"t{at}": {("none",): 0.6, ("half",): 0.7 + at / 500, ("all",): 0.6 + (-1) ** at / 100}
    for at in range(10)
}


@pytest.fixture
def ten(made_up):
    return made_up({"freezing": FREEZING}, TEN)


def test_the_answer_names_what_is_shown_with_its_evidence(ten) -> None:
    report, _ = build_study_report(*ten)
    assert report.answer.startswith(
        "Over 10 datasets, shown to differ from the reference are, better: half less none "
        "(freezing) +10.9 points (p = 0.0039 after Holm's correction); of the other 1"
    )
    (factor,) = report.factors
    assert "half" in factor.verdict
    assert "beats none" in factor.verdict
    assert report.runs == report.runs_there == 30


def test_holm_runs_over_all_levels_of_all_factors(made_up) -> None:
    factors = {"freezing": {"none": {}, "half": {"frozen_fraction": 0.5}}}
    more = {**factors, "schedule": {"constant": {}, "linear": {"schedule": "linear"}}}
    alone = {f"t{at}": {("none",): 0.6, ("half",): 0.61 + at / 100} for at in range(8)}
    both = {
        task: {(level, s): score for (level,), score in of.items() for s in ("constant", "linear")}
        for task, of in alone.items()
    }
    one = build_study_report(*made_up(factors, alone))[0].factors[0].judgements[0]
    two = build_study_report(*made_up(more, both))[0].factors[0].judgements[0]
    assert two.points.wilcoxon.p_value == one.points.wilcoxon.p_value
    assert two.wilcoxon_holm == pytest.approx(2 * one.wilcoxon_holm)


def test_fewer_than_six_datasets_are_said_to_show_nothing(made_up) -> None:
    some = {task: TEN[task] for task in list(TEN)[:5]}
    report, _ = build_study_report(*made_up({"freezing": FREEZING}, some))
    assert report.answer.startswith(
        "5 datasets cannot show a difference after a correction for 2 comparisons; the largest "
    )
    assert any("needs 7 to reach .05" in notice for notice in report.notices)
    one_level = {level: FREEZING[level] for level in ("none", "half")}
    fewer = {task: {(lv,): of[lv,] for lv in one_level} for task, of in some.items()}
    report, _ = build_study_report(*made_up({"freezing": one_level}, fewer))
    assert report.answer.startswith("5 datasets cannot show a difference; the largest mean")
    assert any("needs 6 to reach .05" in notice for notice in report.notices)


def test_six_datasets_show_nothing_of_the_levels_of_two_factors(made_up) -> None:
    factors = {
        "freezing": {"none": {}, "half": {"frozen_fraction": 0.5}},
        "schedule": {"constant": {}, "linear": {"schedule": "linear"}},
    }
    scores = {
        f"t{at}": {
            (level, schedule): 0.6 + at / 100 + 0.1 * (level == "half")
            for level in ("none", "half")
            for schedule in ("constant", "linear")
        }
        for at in range(6)
    }
    report, _ = build_study_report(*made_up(factors, scores))
    freezing = report.factors[0]
    assert freezing.judgements[0].wilcoxon_holm == pytest.approx(2 * 2**-5), "no lower with six"
    assert report.answer.startswith("6 datasets cannot show a difference after a correction for 2")
    assert freezing.verdict.startswith("6 datasets are too few to show a difference")
    assert any("needs 7 to reach .05" in notice for notice in report.notices)


def test_levels_over_more_datasets_do_not_hide_what_few_datasets_show(made_up) -> None:
    scores = {f"t{at}": {("none",): 0.6, ("half",): 0.7 + at / 100} for at in range(9)}
    for at in range(6):
        scores[f"t{at}"]["all",] = 0.8 + at / 100  # type: ignore[index]
    factors = {"freezing": FREEZING}
    (factor,) = build_study_report(*made_up(factors, scores))[0].factors
    assert [one.points.pairs for one in factor.judgements] == [9, 6]
    assert "Over 9 datasets, half" in factor.verdict
    assert "Over 6 datasets, all" in factor.verdict


def test_a_study_that_is_not_complete_says_so(ten) -> None:
    plan, runs = ten
    report, _ = build_study_report(plan, runs[:-1])
    assert "29 of 30 runs are there: the study is not complete" in report.notices[0]
    assert report.factors[0].open_blocks == 1
    with pytest.raises(RunFailedError, match="nothing to compare yet: 2 runs are there"):
        build_study_report(plan, runs[:2])


def test_failures_and_what_is_left_out_are_told(made_up) -> None:
    scores = {**TEN, "t0": {**TEN["t0"], ("all",): "diverged"}}
    plan, runs = made_up({"freezing": FREEZING}, scores)
    left_out = (LeftOut("a", "x", "why"), LeftOut("b", "x", "why"), LeftOut("c", "", "gone"))
    plan = StudyPlan(plan.card, plan.size, plan.units, left_out)
    report, _ = build_study_report(plan, runs, problems={"d": "broke"})
    assert report.failures == 1
    assert any("1 run failed" in notice for notice in report.notices)
    table = left_out_table(report.left_out)
    assert table is not None
    assert table.rows == (
        ("x", "a, b", "why"),
        ("the task", "c", "gone"),
        ("the task", "d", "broke"),
    )
    assert level_table(report.factors[0]).rows[2][-1] == "1 of 10"


def test_failures_of_every_factor_count_once(made_up) -> None:
    factors = {
        "freezing": {"none": {}, "half": {"frozen_fraction": 0.5}},
        "schedule": {"constant": {}, "linear": {"schedule": "linear"}},
    }
    scores: dict[tuple[str, ...], float | str] = {
        ("none", "constant"): "diverged",
        ("half", "constant"): 0.7,
        ("none", "linear"): "diverged",
    }
    made = made_up(factors, {"t0": scores}, one_at_a_time=True)
    report, _ = build_study_report(*made)
    assert any("2 runs failed" in notice for notice in report.notices), "the reference once"


@pytest.mark.parametrize(
    ("count", "named"), [(3, "t0, t1, t2"), (4, "t0, t1 and 2 more"), (9, "t0, t1 and 7 more")]
)
def test_many_tasks_that_are_left_out_are_counted_where_that_is_asked_for(
    count: int, named: str
) -> None:
    table = left_out_table([LeftOut(f"t{at}", "x", "why") for at in range(count)], most_named=2)
    assert table is not None
    assert table.rows == (("x", named, "why"),)


def test_datasets_without_a_finite_score_are_told(made_up) -> None:
    scores = {**TEN, "t0": {**TEN["t0"], ("all",): float("nan")}}
    report, _ = build_study_report(*made_up({"freezing": FREEZING}, scores))
    assert any("out of the tests: 1 of all less none." in notice for notice in report.notices)


def test_the_level_table_has_differences_tests_and_costs(ten) -> None:
    report, _ = build_study_report(*ten)
    levels, scores, seconds = study_tables(report)["freezing"]
    assert [row[0] for row in levels.rows] == ["none", "half", "all"]
    assert levels.rows[0][3:8] == ("-",) * 5
    assert levels.rows[1][:4] == ("half", "10", "70.9", "+10.9")
    assert levels.rows[1][7] == "10 / 0 / 0"
    assert levels.rows[1][9] == "10.0"
    assert len(scores.rows) == len(seconds.rows) == 10
    assert scores.title.endswith("mean and deviation over seeds, backbones and other factors")
    assert seconds.title.endswith("mean over seeds, backbones and other factors")


def test_the_page_needs_nothing_beside_it(ten) -> None:
    report, gathered = build_study_report(*ten)
    page = render_study_page(report, gathered)
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert report.question in page
    assert "half less none" in page
    assert "+10.9" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "figures of different factors share no id"


def test_a_page_of_two_factors_shares_no_ids(made_up) -> None:
    factors = {
        "freezing": FREEZING,
        "schedule": {"constant": {}, "linear": {"schedule": "linear"}},
    }
    scores = {
        task: {(*levels, s): score for levels, score in of.items() for s in ("constant", "linear")}
        for task, of in TEN.items()
    }
    page = render_study_page(*build_study_report(*made_up(factors, scores)))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert '<h2 id="factor-1">Schedule</h2>' in page


def test_the_folder_holds_page_numbers_and_runs(ten, tmp_path) -> None:
    plan, runs = ten
    report, gathered = build_study_report(plan, runs)
    folder = tmp_path / "out"
    write_study(folder, plan, report, gathered, runs)
    assert sorted(p.name for p in folder.iterdir()) == ["report.html", "results.json", "runs.csv"]
    assert json.loads((folder / "results.json").read_text())["answer"] == report.answer
    lines = (folder / "runs.csv").read_text().splitlines()
    assert lines[0].startswith(
        "task,backbone,metric,train_rows,seed,factor_freezing,frozen_fraction,"
    )
    assert len(lines) == 31
