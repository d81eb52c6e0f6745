from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from metaft.errors import TaskError
from metaft.tasks.columns import ColumnNames
from metaft.tasks.load import load_task
from metaft.tasks.split import subsample

_ROW = {"tokens": ["Anna", "sings", "in", "Rome"], "ner_tags": ["B-PER", "O", "O", "B-LOC"]}


def _rows(count: int = 20) -> list[dict[str, list[str]]]:
    rows = [{**_ROW, "tokens": [*_ROW["tokens"][:3], f"Rome{number}"]} for number in range(count)]
    rows[0] = {"tokens": ["Nobody", "here"], "ner_tags": ["O", "O"]}
    return rows


def _write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def test_words_and_tags_of_a_file(tmp_path: Path) -> None:
    task = load_task(_write(tmp_path / "names.jsonl", _rows()))
    assert task.kind == "ner"
    assert task.metric == "entity_f1"
    assert task.label_names == ("O", "B-LOC", "B-PER")
    assert task.num_outputs == 3
    assert task.is_by_token
    row = next(at for at, words in enumerate(task.train.words or ()) if words[0] == "Anna")
    assert (task.train.texts or ())[row] == " ".join((task.train.words or ())[row])
    assert (task.train.tags or ())[row].tolist() == [2, 0, 0, 1]
    classes = task.training_classes
    assert classes is not None
    assert len(classes) == sum(map(len, task.train.words or ()))


def test_a_row_is_sampled_by_its_rarest_tag(tmp_path: Path) -> None:
    rows = [{"tokens": [f"w{n}", "x"], "ner_tags": ["O", "O"]} for n in range(40)]
    for number in range(0, 40, 8):
        rows[number]["ner_tags"] = ["B-PER", "O"]
    task = load_task(_write(tmp_path / "rare.jsonl", rows))
    assert {int(label) for label in task.train.labels} == {0, 1}
    small = subsample(task, train_rows=len(task.train) // 2)
    assert sum(small.train.labels) == pytest.approx(sum(task.train.labels) / 2, abs=1)


def test_declared_names_of_numbers(tmp_path: Path) -> None:
    rows = _rows()
    tags = [[0] * len(row["tokens"]) for row in rows]
    table = pa.table({"tokens": [row["tokens"] for row in rows], "tags": tags})
    features = {
        "tokens": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
        "tags": {"feature": {"names": ["O", "B-X"], "_type": "ClassLabel"}, "_type": "List"},
    }
    written = json.dumps({"info": {"features": features}})
    parquet.write_table(
        table.replace_schema_metadata({"huggingface": written}), tmp_path / "rows.parquet"
    )
    assert load_task(str(tmp_path / "rows.parquet")).label_names == ("O", "B-X")


def test_columns_can_be_named(tmp_path: Path) -> None:
    rows = [{"w": row["tokens"], "t": row["ner_tags"]} for row in _rows()]
    path = _write(tmp_path / "named.jsonl", rows)
    assert load_task(path, columns=ColumnNames(text="w", label="t")).kind == "ner"


def test_columns_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "named.jsonl", _rows())
    named = ColumnNames(text="tokens", text_pair="ner_tags", label="ner_tags")
    with pytest.raises(TaskError, match="are tagged words, which have no second text"):
        load_task(path, columns=named)
    with pytest.raises(TaskError, match=r"'tokens' of .* would be two of"):
        load_task(path, columns=ColumnNames(text="tokens", label="tokens"))


def test_a_split_without_tags_is_left_out(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", _rows())
    _write(tmp_path / "test.jsonl", [{"tokens": ["Eve", "sings"]}] * 3)
    task = load_task(str(tmp_path))
    assert len(task.train) + len(task.validation) + len(task.test) == 20
    assert task.notices[0] == "the test split has no tags and is left out"
    _write(tmp_path / "test.jsonl", [{"ner_tags": ["O"]}])
    with pytest.raises(TaskError, match=r"the test split of .* lacks the column 'tokens'"):
        load_task(str(tmp_path))


def test_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="has 7 rows; at least 8 are needed"):
        load_task(_write(tmp_path / "few.jsonl", _rows(7)))


def test_rows_without_words_are_left_out(tmp_path: Path) -> None:
    task = load_task(_write(tmp_path / "empty.jsonl", [*_rows(), {"tokens": [], "ner_tags": []}]))
    assert "1 rows of train have no words: left out" in task.notices


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", "b"], "ner_tags": ["O"]}, "row 21 of .* has 2 words and 1 tags"),
        ({"tokens": ["a"], "ner_tags": [None]}, "has a word or a tag that is missing"),
        ({"tokens": ["a" * (1 << 20)], "ner_tags": ["O"]}, r"allowed are 1,048,576 \(1 MiB\)"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, row: dict[str, object], message: str) -> None:
    path = _write(tmp_path / "wrong.jsonl", [*_rows(), row])
    with pytest.raises(TaskError, match=message):
        load_task(path)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ([0, 1], "numbers without names, so nobody can tell where an entity begins"),
        (["O", "O"], "every word of .* has the tag 'O'"),
        ([0.5, 1.5], "are of type double; allowed are texts and whole numbers"),
    ],
)
def test_wrong_tags_are_refused(tmp_path: Path, tags: list[object], message: str) -> None:
    rows = [{"tokens": [f"w{n}", "x"], "ner_tags": tags} for n in range(20)]
    with pytest.raises(TaskError, match=message):
        load_task(_write(tmp_path / "wrong.jsonl", rows))


def test_missing_tags_are_named(tmp_path: Path) -> None:
    rows = [{"tokens": ["a", str(n)], "other": 1} for n in range(20)]
    with pytest.raises(TaskError, match="has no column of tags; its columns are tokens, other"):
        load_task(_write(tmp_path / "none.jsonl", rows))


def test_tags_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    rows = _rows()
    first = load_task(_write(tmp_path / "a.jsonl", rows)).fingerprint
    rows[3] = {**rows[3], "ner_tags": ["O", "O", "O", "B-LOC"]}
    assert load_task(_write(tmp_path / "a.jsonl", rows)).fingerprint != first


@pytest.mark.mirror
def test_conll_of_the_real_mirror() -> None:
    task = load_task("conll2003", offline=True)
    assert (len(task.train), task.num_outputs, task.metric) == (6000, 9, "entity_f1")
