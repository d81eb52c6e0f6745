from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from metaft.cli import group

if TYPE_CHECKING:
    from tests.cli.conftest import Traced

_CONTEXT = "Of all the numbers {0} is one, and no other."


def _invoke(*arguments: object) -> Result:
    return CliRunner().invoke(group, [str(argument) for argument in arguments])


def _finetune(dataset: object, backbone: str, out: Path) -> Path:
    done = _invoke(
        *("finetune", "--dataset", dataset, "--backbone", backbone, "--plain", "--offline"),
        *("--set", "epochs=1", "--set", "max_length=40", "--out", out),
    )
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def classifier(traced: Traced, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "texts"
    return _finetune(traced.new_file, traced.backbone, out)


@pytest.fixture(scope="module")
def reader(traced: Traced, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    rows = [
        {
            "question": f"number {number}?",
            "context": _CONTEXT.format(number),
            "answers": {"text": [str(number)], "answer_start": [19]},
        }
        for number in range(100, 130)
    ]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return _finetune(folder / "rows.jsonl", traced.backbone, folder / "run")


def test_labels_of_texts(classifier: Path) -> None:
    done = _invoke("predict", "--run", classifier, "--text", "a", "--text", "b", "--format", "json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert [row["input"] for row in answer] == ["a", "b"]
    assert sum(answer[0]["probabilities"].values()) == pytest.approx(1.0)


def test_a_table_and_rows_of_a_file(classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text\nthe old river\nan engine\n")
    done = _invoke("predict", "--run", classifier, "--file", tmp_path / "rows.csv")
    assert done.exit_code == 0, done.output
    assert "the old river" in done.stdout


def test_brackets_in_a_text_are_no_markup(classifier: Path) -> None:
    done = _invoke("predict", "--run", classifier, "--text", "[/url] win", "--text", "[bold] no")
    assert done.exit_code == 0, done.output
    assert "[/url] win" in done.stdout
    assert "[bold] no" in done.stdout


def test_an_answer_from_a_file(reader: Path, tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text(_CONTEXT.format(7))
    done = _invoke(
        *("predict", "--run", reader, "--question", "number 7?"),
        *("--context-file", tmp_path / "page.txt", "--format", "json"),
    )
    assert done.exit_code == 0, done.output
    (answer,) = json.loads(done.stdout)
    assert answer["answer"] == _CONTEXT.format(7)[answer["start"] : answer["end"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "of kind classification, which needs --text"),
        (("--question", "a", "--context", "b"), "needs --text"),
        (("--context", "a", "--context-file", "{file}"), "are both given"),
        (("--question", "a", "--context-file", "{file}x"), "cannot be read: No such file"),
        (("--file", "{file}", "--text", "a"), "rows are given twice"),
        (("--file", "{file}"), "has the columns a, b; a Run of kind classification needs text"),
    ],
)
def test_what_does_not_fit_is_refused(
    classifier: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    given = [option.format(file=tmp_path / "rows.csv") for option in options]
    done = _invoke("predict", "--run", classifier, *given)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    done = _invoke("predict", "--run", tmp_path, "--text", "a")
    assert done.exit_code == 2
    assert "holds no recipe.yaml" in done.output
