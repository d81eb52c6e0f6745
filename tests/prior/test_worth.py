from __future__ import annotations

import json
from pathlib import Path

import pytest

from metaft.prior.wording import p_text
from metaft.prior.worth import worth_notes, worth_tables


@pytest.fixture
def validation(own_prior: Path) -> dict:
    return json.loads((own_prior / "prior.json").read_text())["validation"]


def test_every_table_is_complete(validation) -> None:
    tables = worth_tables(validation)
    names = ["methods", "points", "normalised_regret_saved", "race", "goals"]
    assert [table.name for table in tables] == names
    for table in tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}
    methods, points, _, race, goals = tables
    assert [row[0] for row in methods.rows] == list(validation["methods"])
    assert len(points.rows) == len(validation["comparisons"])
    assert [row[0] for row in race.rows][:2] == ["learned", "plain"]
    assert len(goals.rows) == len(validation["goals"])


def test_numbers_are_those_of_the_validation(validation) -> None:
    methods, points, *_ = worth_tables(validation)
    learned = validation["methods"]["learned"]
    row = dict(zip(methods.columns, methods.rows[0], strict=True))
    assert row["points"] == f"{learned['points']:.2f}"
    assert row["regret"] == f"{learned['regret']:.2f}"
    first = dict(zip(points.columns, points.rows[0], strict=True))
    compared = validation["comparisons"]["learned - plain"]["points"]
    assert first["rival"] == "plain"
    assert first["t"] == p_text(compared["t_test_p_holm"])
    assert first["mean (95 %)"].startswith(f"{compared['mean']:.2f} (")


def _against_average(validation: dict) -> dict:
    compared = validation["comparisons"]["learned - plain"] | {"rival": "best-average"}
    compared["points"] |= {"t_test_p_holm": 0.0004, "wilcoxon_p_holm": 0.012}
    return compared


def test_slices_and_their_goals_stand_apart(validation) -> None:
    compared = _against_average(validation)
    part = {"slice": "bert, 512 rows", "tasks": 7, "methods": validation["methods"]}
    validation["slices"] = [{**part, "learned - average": compared}]
    validation["goals"].append({**validation["goals"][1], "scope": "bert, 512 rows", "met": False})
    *_, slices, goals, slice_goals = worth_tables(validation)
    row = dict(zip(slices.columns, slices.rows[0], strict=True))
    assert (row["backbone, rows"], row["tasks"], row["p"]) == ("bert, 512", "7", ".012")
    assert row["average"] == f"{validation['methods']['best-average']['regret']:.2f}"
    assert len(goals.rows) == len(validation["goals"]) - 1
    assert slice_goals.rows[0][1].endswith(", missed")


def test_what_was_hidden_has_a_table(validation) -> None:
    part = {"asked": "about 128 rows", "tasks": 30, "coverage": 0.733}
    part["methods"] = {"learned": {"regret": 1.104}, "plain": {"regret": 7.83}}
    part["learned - average"] = _against_average(validation)
    untested = part | {"learned - average": {}}
    validation["transfer"] = {"hidden": [part, untested], "relative_width": 0.361}
    table = next(table for table in worth_tables(validation) if table.name == "transfer")
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert (row["learned"], row["plain"], row["random-8"]) == ("1.10", "7.83", "-")
    assert (row["p"], row["coverage"]) == (".012", "73.3 %")
    assert dict(zip(table.columns, table.rows[1], strict=True))["p"] == "-"
    assert "half of it is 0.36 times the square root" in worth_notes(validation)[-1]


def test_unknown_figures_are_dashes(validation) -> None:
    validation["methods"]["learned"]["relative_seconds"] = None
    validation["goals"][0] |= {"measured": None, "met": None}
    methods, *_, goals = worth_tables(validation)
    assert methods.rows[0][6] == "-"
    assert goals.rows[0][2:] == ("-", "unknown")


def test_nothing_judged_says_nothing(validation) -> None:
    validation |= {
        "methods": {},
        "comparisons": {},
        "race": {},
        "ranks": {},
        "slices": [],
        "goals": [],
    }
    assert worth_tables(validation) == []
    assert worth_notes(validation) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, ".012"), (0.0009, "< .001"), (1.0, "1.000"), (None, "-"), (0.05, ".050")],
)
def test_p_values(value: float | None, text: str) -> None:
    assert p_text(value) == text
