from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from metaft.comparing.report import build_report
from metaft.comparing.tables import report_tables
from metaft.prior.suggestion import Prediction
from metaft.prior.worth import Table

if TYPE_CHECKING:
    from tests.comparing.conftest import Comparison


@pytest.fixture
def tables(comparison: Comparison) -> dict[str, Table]:
    """Return the tables by their names."""
    scores = {
        "mail": {"plain": [0.7, 0.72], "learned": [0.8, "diverged"]},
        "news": {"plain": [0.9, 0.9], "learned": [0.91, 0.93]},
    }
    expected = Prediction("accuracy", 0.85, 0.75, 0.9, 9.0, 512.0, 0.01)
    plan, traces = comparison(scores, seen=["news"], predicted={"learned": expected})
    return {table.name: table for table in report_tables(build_report(plan, traces))}


def test_scores_stand_beside_each_other(tables: dict[str, Table]) -> None:
    table = tables["scores"]
    assert table.columns[2:] == ("plain", "learned", "learned - plain")
    assert table.rows[0] == (
        "mail",
        "accuracy",
        "71.0 ± 1.4",
        "65.0 ± 21.2 (1 failed)",
        "-6.0",
    )
    assert table.rows[1][0] == "news*"
    assert tables["seconds"].rows == (("mail", "8.8", "8.8"), ("news*", "8.8", "8.8"))


def test_every_measure_has_a_row(tables: dict[str, Table]) -> None:
    rows = dict(tables["tests"].rows)
    assert rows["datasets"] == "1"
    assert rows["mean difference, points"] == "-6.0 (95% bootstrap: no bounds)"
    assert rows["Wilcoxon signed-rank"] == "W+ = 0, p = 1.000, Holm 1.000"
    assert rows["effect size d_z"] == "-"
    assert rows["win / tie / loss"] == "0 / 0 / 1"
    assert dict(tables["tests-with-seen"].rows)["datasets"] == "2"


def test_recipes_say_what_differs_from_plain_and_what_was_expected(
    tables: dict[str, Table],
) -> None:
    plain, mail, news = tables["recipes"].rows
    assert plain == ("plain", "all", "plain", "-", "-")
    assert mail == ("learned", "mail", "learning_rate 0.0001", "85.0 (75.0 to 90.0)", "65.0")
    assert news[1] == "news*"


def test_predictions_are_those_of_the_headline(tables: dict[str, Table]) -> None:
    assert tables["predictions"].rows == (("learned", "2", "50%", "20.0", "-20.0"),)


def test_columns_without_anything_are_left_out(comparison: Comparison) -> None:
    report = build_report(*comparison({"mail": {"plain": [0.7], "steady": [0.8]}}))
    (recipes,) = (table for table in report_tables(report) if table.name == "recipes")
    assert recipes.columns == ("method", "task", "recipe")


def test_note_stands_once_with_its_tasks(comparison: Comparison) -> None:
    scores = {name: {"plain": [0.7], "learned": [0.8]} for name in ("mail", "news", "poems")}
    plan, traces = comparison(scores)
    for task, note in zip(plan.tasks, ("too far", "too far", "too small"), strict=True):
        task.choices["learned"] = dataclasses.replace(task.choices["learned"], note=note)
    (notes,) = (t for t in report_tables(build_report(plan, traces)) if t.name == "notes")
    assert notes.rows == (("learned", "mail, news", "too far"), ("learned", "poems", "too small"))


def test_three_methods_are_ranked(comparison: Comparison) -> None:
    scores = {name: {"plain": [0.7], "a": [0.8], "b": [0.9]} for name in ("mail", "news")}
    report = build_report(*comparison(scores))
    (ranks,) = (table for table in report_tables(report) if table.name == "ranks")
    assert ranks.rows[:3] == (("b", "1.00"), ("a", "2.00"), ("plain", "3.00"))
    assert ranks.rows[4] == ("Friedman's test", "chi-square = 4, p = 0.135")
    assert ranks.rows[5] == ("Iman and Davenport's test", "F = inf, p = 0.000")


def test_every_row_is_as_long_as_its_heading(tables: dict[str, Table]) -> None:
    for table in tables.values():
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_methods_are_summed_up_over_the_headline(comparison: Comparison) -> None:
    scores = {
        "mail": {"plain": [0.7, 0.72], "learned": [0.8, "diverged"]},
        "news": {"plain": [0.9, 0.9], "learned": [0.95, 0.95]},
    }
    (methods,) = (
        table
        for table in report_tables(build_report(*comparison(scores)))
        if table.name == "methods"
    )
    plain, learned = (dict(zip(methods.columns, row, strict=True)) for row in methods.rows)
    assert plain["mean score, points"] == "80.5"
    assert learned["less plain, points"] == "-0.5"
    assert (plain["regret, points"], learned["regret, points"]) == ("2.5", "3.0")
    assert learned["times plain"] == "1.00"
    assert learned["failed runs"] == "1 of 4"


def test_small_p_values_are_written_out(comparison: Comparison) -> None:
    scores = {f"t{at}": {"plain": [0.7], "learned": [0.75 + at / 1000]} for at in range(14)}
    (tests,) = (
        table for table in report_tables(build_report(*comparison(scores))) if table.name == "tests"
    )
    assert dict(tests.rows)["Wilcoxon signed-rank"] == "W+ = 105, p = 1.2e-04, Holm 1.2e-04"
