from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from metaft import cli
from metaft.comparing.methods import KNOWN_METHODS

TASKS = "uci_sentences_yelp,convention_2012_party"


def _compare(*options: object) -> Result:
    return CliRunner().invoke(cli.group, ["compare", *map(str, options)])


def test_help_names_every_method() -> None:
    shown = "".join(_compare("--help").stdout.split())  # lines break behind hyphens
    assert all(method in shown for method in KNOWN_METHODS)


class Compared(NamedTuple):
    """A comparison of two methods that has been made."""

    options: list[object]
    folder: Path
    result: Result


@pytest.fixture(scope="module")
def compared(backbone_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    folder = tmp_path_factory.mktemp("compared")
    options = [
        *("--tasks", TASKS, "--methods", "plain,steady", "--seeds", 1, "--rows", 16),
        *("--backbone", backbone_folder, "--store", f"sqlite:///{folder / 'traces.db'}"),
        *("--workers", 1, "--offline"),
    ]
    result = _compare(*options, "--out", folder / "report", "--format", "json")
    return Compared(options, folder, result)


def _runs(report: dict) -> list[dict]:
    results = [result for task in report["tasks"] for result in task["results"]]
    return [run for result in results for run in result["runs"]]


def test_answer_is_json_alone_on_stdout(compared: Compared) -> None:
    assert compared.result.exit_code == 0, compared.result.stderr
    answer = json.loads(compared.result.stdout)
    assert answer["methods"] == ["plain", "steady"]
    assert {task["task"] for task in answer["tasks"]} == set(TASKS.split(","))
    assert len(_runs(answer)) == 4
    assert answer["judgements"][0]["points"]["pairs"] == 2
    assert "2 datasets cannot show a difference" in compared.result.stderr
    assert str(compared.folder / "report" / "report.html") in compared.result.stderr


def test_folder_holds_the_report(compared: Compared) -> None:
    folder = compared.folder / "report"
    assert json.loads((folder / "report.json").read_text()) == json.loads(compared.result.stdout)
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["report.html", "report.json", "traces.parquet"]


@pytest.mark.usefixtures("workers_in_process")
def test_second_call_makes_no_run_and_prints_tables(compared: Compared) -> None:
    result = _compare(*compared.options, "--out", compared.folder / "again")
    assert result.exit_code == 0, result.stderr
    again = json.loads((compared.folder / "again" / "report.json").read_text())
    assert _runs(again) == _runs(json.loads(compared.result.stdout))  # to the last second
    assert "2 datasets are too few" in result.stdout
    assert "steady - plain" in result.stdout
    assert "Wilcoxon signed-rank" in result.stdout


@pytest.mark.usefixtures("workers_in_process")
def test_reference_is_what_the_others_are_compared_with(compared: Compared) -> None:
    options = [*compared.options, "--reference", "steady", "--format", "json"]
    answer = json.loads(_compare(*options, "--out", compared.folder / "steady").stdout)
    assert answer["reference"] == "steady"
    assert [one["method"] for one in answer["judgements"]] == ["plain"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tasks", TASKS, "--methods", "plain"], "needs two or more"),
        (["--tasks", TASKS, "--methods", "plain,magic"], "'magic' is no method; the methods are"),
        (["--tasks", "nothing_such"], "no task 'nothing_such'"),
        (["--tasks", TASKS, "--prior", "nowhere"], "neither a folder nor a shipped prior"),
        (["--tasks", TASKS, "--reference", "steady"], "'steady' is none of the methods"),
        (["--tasks", TASKS, "--seeds", "0"], "seeds"),
        (["--tasks", TASKS, "--time-limit", "soon"], "'soon' is no duration"),
    ],
)
def test_wrong_input_is_one_message_and_nothing_is_written(
    options: list[str], message: str, tmp_path: Path
) -> None:
    result = _compare(*options, "--out", tmp_path / "report")
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "report").exists()


def test_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report").touch()
    options = ["--tasks", TASKS, "--methods", "plain,steady", "--out", tmp_path / "report"]
    result = _compare(*options)
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
