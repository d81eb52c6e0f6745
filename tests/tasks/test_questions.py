from __future__ import annotations

import json
from pathlib import Path

import pytest

from metaft.errors import TaskError
from metaft.tasks.columns import ColumnNames
from metaft.tasks.load import load_task
from metaft.tasks.task import Answer


def _rows(count: int = 20) -> list[dict[str, object]]:
    return [
        {
            "question": f"What is number {number}?",
            "context": f"Of all the numbers {number} is one, and {number} is good.",
            "answers": {"text": [str(number)], "answer_start": [19]},
        }
        for number in range(100, 100 + count)
    ]


def _write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def test_questions_of_a_file(tmp_path: Path) -> None:
    task = load_task(_write(tmp_path / "asked.jsonl", _rows()))
    assert (task.kind, task.metric, task.num_outputs) == ("qa", "exact_match", 2)
    assert task.label_names == ()
    assert task.training_classes is None
    texts, contexts = task.train.texts, task.train.text_pairs
    assert texts
    assert contexts
    for text, context, answers in zip(texts, contexts, task.train.answers or (), strict=True):
        (answer,) = answers
        assert context[answer.start :].startswith(answer.text)
        assert answer.text in text


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"text": ["100"], "answer_start": [5]}, (Answer("100", 19),)),  # stands elsewhere
        ({"text": [" 100 "], "answer_start": [18]}, (Answer("100", 19),)),
        (
            {"text": ["100", "100"], "answer_start": [19, 35]},
            (Answer("100", 19), Answer("100", 35)),
        ),
        ({"text": [], "answer_start": []}, ()),
        (None, ()),
    ],
)
def test_answers_are_put_right(tmp_path: Path, answers: object, expected: object) -> None:
    rows = _rows(40)
    rows[0]["answers"] = answers
    for split, part in (("train", rows[:30]), ("test", rows[30:])):
        _write(tmp_path / f"{split}.jsonl", part)
    task = load_task(str(tmp_path))
    found = {
        text: right
        for split in (task.train, task.validation)
        for text, right in zip(split.texts or (), split.answers or (), strict=True)
    }
    assert found["What is number 100?"] == expected


def test_answers_that_stand_nowhere_are_left_out(tmp_path: Path) -> None:
    rows = _rows()
    rows[4]["answers"] = {"text": ["banana"], "answer_start": [3]}
    task = load_task(_write(tmp_path / "asked.jsonl", rows))
    assert any("1 rows of the train split of" in notice for notice in task.notices)
    assert len(task.train) + len(task.validation) + len(task.test) == 19


@pytest.mark.parametrize(
    "answers",
    [
        "100",
        ["100"],
        {"text": ["a"]},
        {"text": ["a"], "answer_start": []},
        {"text": ["a"], "answer_start": [None]},
        {"text": [None], "answer_start": [3]},
    ],
)
def test_answers_of_another_form_are_refused(tmp_path: Path, answers: object) -> None:
    rows = [{**row, "answers": answers} for row in _rows()]
    with pytest.raises(TaskError, match=r"the answers in row 1 of .* are .* Write them as SQuAD"):
        load_task(_write(tmp_path / "asked.jsonl", rows))


def test_named_columns_make_another_task_of_questions(tmp_path: Path) -> None:
    rows = [{**row, "topic": "xy"[number % 2]} for number, row in enumerate(_rows())]
    path = _write(tmp_path / "asked.jsonl", rows)
    assert load_task(path, columns=ColumnNames(text="question")).kind == "qa"
    task = load_task(path, columns=ColumnNames(text="question", label="topic"))
    assert (task.kind, task.label_names) == ("classification", ("x", "y"))
    assert task.train.text_pairs is None


def test_a_split_without_answers_is_left_out(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", _rows())
    secret = [{name: row[name] for name in ("question", "context")} for row in _rows(8)]
    _write(tmp_path / "test.jsonl", secret)
    task = load_task(str(tmp_path))
    assert len(task.train) + len(task.validation) + len(task.test) == 20
    assert task.notices[0] == "the test split has no answers and is left out"
    _write(tmp_path / "test.jsonl", [{"question": "What?"}])
    with pytest.raises(TaskError, match=r"the test split of .* lacks the column 'context'"):
        load_task(str(tmp_path))


def test_few_questions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="has 7 rows; at least 8 are needed"):
        load_task(_write(tmp_path / "asked.jsonl", _rows(7)))


def test_rows_of_one_context_stay_together(tmp_path: Path) -> None:
    rows = _rows(10)
    doubled = [*rows, *({**row, "question": f"And {row['question']}"} for row in rows)]
    task = load_task(_write(tmp_path / "asked.jsonl", doubled))
    assert task.train.text_pairs
    assert task.test.text_pairs
    assert not set(task.train.text_pairs) & set(task.test.text_pairs)


@pytest.mark.mirror
def test_squad_of_the_real_mirror() -> None:
    task = load_task("squad", offline=True)
    assert len(task.test) == 872
    assert all(task.train.answers or ())
