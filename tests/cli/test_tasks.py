"""`metaft tasks`, and what every command says to a dataset it cannot use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from metaft.cli import group


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(group, list(arguments))


def _answer(*arguments: str) -> Any:
    result = _run(*arguments, "--format", "json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_list_gives_every_card_and_where_it_can_be_read() -> None:
    tasks = {task["name"]: task for task in _answer("tasks", "list")}
    assert len(tasks) >= 141
    assert tasks["sms_spam"]["sources"] == ["bundled", "hub"]
    assert tasks["sms_spam"]["licence"]
    assert tasks["ag_news"]["target"] is True


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--source", "bundled"], 11),
        (["--source", "bundled", "--modality", "image"], 2),
        (["--source", "bundled", "--kind", "regression"], 1),
        (["--source", "mirror"], 0),
    ],
)
def test_list_filters(options: list[str], count: int) -> None:
    assert len(_answer("tasks", "list", *options)) == count


def test_list_as_table_and_yaml() -> None:
    table = _run("tasks", "list", "--source", "bundled").stdout
    assert "sms_spam" in table
    assert "11 tasks" in table
    listed = yaml.safe_load(_run("tasks", "list", "--kind", "qa", "--format", "yaml").stdout)
    assert [task["name"] for task in listed] == ["natural_questions", "squad"]


def test_show() -> None:
    card = _answer("tasks", "show", "glue/sst2")
    assert card["hub_id"] == "nyu-mll/glue"
    assert card["label_names"] == ["negative", "positive"]
    assert "rotten_tomatoes" in card["relatives"]
    assert card["in_shipped_priors"] is True
    assert "nyu-mll/glue" in _run("tasks", "show", "glue/sst2").stdout


def test_check_counts_rows() -> None:
    reports = _answer("tasks", "check", "sms_spam", "wikigold", "--offline")
    assert [report["status"] for report in reports] == ["ok", "unreachable"]
    assert reports[0]["rows"] == {"train": 800, "validation": 200, "test": 500}
    table = _run("tasks", "check", "sms_spam", "wikigold").stdout
    assert "1 ok, 1 unreachable, 0 problem" in table


def test_check_fails_where_data_is_not_as_its_card_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "text" / "trec"
    folder.mkdir(parents=True)
    (folder / "train.parquet").write_bytes(b"PAR1")
    monkeypatch.setenv("METAFT_DATA", str(tmp_path))
    result = _run("tasks", "check", "trec", "sms_spam", "--format", "json")
    assert result.exit_code == 1
    assert "1 of 2 tasks: trec" in result.stderr
    assert json.loads(result.stdout)[0]["status"] == "problem"


def test_a_wrong_card_is_the_users_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from metaft.tasks import card

    (tmp_path / "mine.yaml").write_text("name: mine\ncolour: red\n")
    monkeypatch.setattr(card, "shipped_folder", lambda _: tmp_path)
    card.load_cards.cache_clear()
    try:
        result = _run("tasks", "check")
    finally:
        monkeypatch.undo()
        card.load_cards.cache_clear()
    assert result.exit_code == 2
    assert "mine.yaml has the unknown field 'colour'; the fields are name, kind" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tasks", "show", "smsspam"], "there is no task 'smsspam'. Did you mean sms_spam."),
        (["tasks", "check", "imbd"], "Did you mean imdb"),
        (["tasks", "list", "--kind", "clustering"], "--kind is 'clustering'; allowed are"),
        (["tasks", "list", "--source", "disk"], "'disk' is not one of"),
    ],
)
def test_wrong_input_is_one_message_and_exit_2(arguments: list[str], message: str) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def _csv(*lines: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        path = folder / "data.csv"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write


def _large_image(folder: Path) -> str:
    for number in range(10):
        path = folder / "images" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("1", (9, 9)).save(path)
    Image.new("1", (7100, 7100)).save(path)
    return str(folder / "images")


def _broken_image(folder: Path) -> str:
    path = Path(_large_image(folder)) / "cat" / "0.png"
    path.write_bytes(path.read_bytes()[:45])  # in the middle of its pixels
    return str(path.parents[1])


def _empty_file(folder: Path) -> str:
    (folder / "empty.csv").touch()
    return str(folder / "empty.csv")


_GOOD = [f"words {number},{number % 2}" for number in range(10)]
BAD_DATASETS: dict[str, tuple[Callable[[Path], str], str]] = {
    "no such task": (lambda _: "imbd", "Did you mean imdb"),
    "no such file": (lambda folder: str(folder / "no.csv"), "no file or folder"),
    "no hub": (lambda _: "some/such", "set METAFT_DATA"),
    "empty file": (_empty_file, "is empty"),
    "no text": (_csv("n,label", *(f"{n},{n % 2}" for n in range(9))), "no text column"),
    "two texts": (_csv("title,body,label", "a,b,0", "c,d,1"), "--text-column"),
    "no label": (_csv("text,n", *_GOOD), "no label column"),
    "one class": (_csv("text,label", *(f"words {n},1" for n in range(9))), "at least 2 classes"),
    "a lone example": (_csv("text,label", *_GOOD, "lone,7"), "has a single example"),
    "missing labels": (_csv("text,label", *_GOOD, "words,"), "missing in 1 of 11 rows"),
    "numbers": (_csv("text,label", *(f"{n},{n % 2}" for n in range(9))), "holds numbers"),
    "few rows": (_csv("text,label", *_GOOD[:6]), "at least 8 are needed"),
    "a broken image": (_broken_image, "does not decode"),
    "a large image": (_large_image, "50 megapixels"),
}


@pytest.mark.parametrize("fault", BAD_DATASETS)
def test_finetune_refuses_a_bad_dataset_and_writes_nothing(tmp_path: Path, fault: str) -> None:
    make, message = BAD_DATASETS[fault]
    dataset = make(tmp_path)
    out = tmp_path / "out"
    result = _run("finetune", "--plain", "--offline", "--dataset", dataset, "--out", str(out))
    assert result.exit_code == 2, result.output
    assert message in result.stderr, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert not out.exists()
