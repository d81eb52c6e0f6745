from __future__ import annotations

import json
import shutil
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


@pytest.fixture(scope="module")
def judge(traced: Traced, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Run on pairs of texts with decimal labels."""
    folder = tmp_path_factory.mktemp("judged")
    rows = [f"the river {at},an engine {at},{at / 10 + 0.05:.2f}" for at in range(30)]
    (folder / "rows.csv").write_text("\n".join(["text,text_pair,label", *rows]))
    return _finetune(folder / "rows.csv", traced.backbone, folder / "run")


@pytest.fixture(scope="module")
def tagger(traced: Traced, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tagged")
    rows = [
        {"tokens": ["the", "river", str(at)], "ner_tags": ["O", "B-PLACE", "O"]} for at in range(30)
    ]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return _finetune(folder / "rows.jsonl", traced.backbone, folder / "run")


def test_a_regression_of_pairs_reads_both_texts(judge: Path, tmp_path: Path) -> None:
    rows = [("the river", "an engine"), ("the river", "the river was old")]
    options = [o for row in rows for o in ("--text", row[0], "--text-pair", row[1])]
    done = _invoke("predict", "--run", judge, *options, "--format", "json")
    assert done.exit_code == 0, done.output
    values = [row["value"] for row in json.loads(done.stdout)]
    assert values[0] != values[1]
    lines = [",".join(row) for row in rows]
    (tmp_path / "rows.csv").write_text("\n".join(["text,text_pair", *lines]))
    done = _invoke("predict", "--run", judge, "--file", tmp_path / "rows.csv", "--format", "json")
    assert [row["value"] for row in json.loads(done.stdout)] == pytest.approx(values, rel=1e-4)
    assert _invoke("predict", "--run", judge, "--text", "a").exit_code == 2
    assert '--text "a text" --text-pair "another"' in (judge / "README.md").read_text()


def test_a_run_that_does_not_say_whether_it_read_pairs(
    classifier: Path, judge: Path, tmp_path: Path
) -> None:
    for run, exit_code in ((classifier, 0), (judge, 0)):
        old = tmp_path / run.name
        shutil.copytree(run, old)
        trace = json.loads((old / "trace.json").read_text())
        assert trace.pop("has_pairs") is (run is judge)
        (old / "trace.json").write_text(json.dumps(trace))
        assert _invoke("predict", "--run", old, "--text", "a").exit_code == exit_code


@pytest.mark.parametrize("row", ['{"text": null}', '{"other": 1}'])
def test_a_missing_text_is_refused_with_its_row(classifier: Path, tmp_path: Path, row: str) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n' + row)
    done = _invoke("predict", "--run", classifier, "--file", tmp_path / "rows.jsonl")
    assert done.exit_code == 2
    assert "no text in row 2 (the first row is 1)" in " ".join(done.output.split())


def test_a_file_without_rows_has_no_answers(
    classifier: Path, tagger: Path, reader: Path, tmp_path: Path
) -> None:
    for run, header in ((classifier, "text"), (tagger, "text"), (reader, "question,context")):
        (tmp_path / "rows.csv").write_text(f"{header}\n")
        done = _invoke("predict", "--run", run, "--file", tmp_path / "rows.csv", "--format", "json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout) == []


def test_numbers_are_no_texts_and_the_cure_is_one_of_predict(
    classifier: Path, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("text\n1\n2\n")
    done = _invoke("predict", "--run", classifier, "--file", tmp_path / "rows.csv")
    assert done.exit_code == 2
    assert "holds numbers" in done.output
    assert "--text-column" not in done.output


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
        (("--text", "a", "--text-pair", "b"), "--text-pair would not be looked at"),
        (("--text", "a", "--image", "{file}"), "--image would not be looked at"),
        (("--text", "a", "--context", "b"), "--context would not be looked at"),
        (("--file", "{pairs}"), "has the column text_pair, which a Run of kind classification"),
        (("--file", "{file}"), "has the columns a, b; a Run of kind classification needs text"),
    ],
)
def test_what_does_not_fit_is_refused(
    classifier: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    (tmp_path / "pairs.csv").write_text("text,text_pair\na,b\n")
    files = {"file": tmp_path / "rows.csv", "pairs": tmp_path / "pairs.csv"}
    given = [option.format(**files) for option in options]
    done = _invoke("predict", "--run", classifier, *given)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    done = _invoke("predict", "--run", tmp_path, "--text", "a")
    assert done.exit_code == 2
    assert "holds no recipe.yaml" in done.output
