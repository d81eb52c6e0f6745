"""load_task from end to end: what it makes of good data, and how it refuses bad data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from metaft.errors import TaskError
from metaft.tasks.load import ColumnNames, load_task
from metaft.tasks.local import read_path
from metaft.tasks.split import content_keys
from metaft.tasks.task import Task


def _write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _rows(count: int = 40, classes: int = 2, first: int = 0) -> list[dict[str, object]]:
    rows = range(first, first + count)
    return [{"text": f"some words, number {row}", "label": row % classes} for row in rows]


def _sizes(task: Task) -> list[int]:
    return [len(task.train), len(task.validation), len(task.test)]


def test_a_file_becomes_a_task_with_three_splits(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", _rows(100))
    task = load_task(str(path))
    assert (task.name, task.kind, task.metric, task.source) == (
        *(str(path), "classification", "accuracy", "file"),
    )
    assert _sizes(task) == [64, 16, 20]
    assert np.bincount(task.test.labels).tolist() == [10, 10]
    assert task.label_names == ("0", "1")
    assert task.notices == (
        "no test split: 20 rows of train are held out (seed 0)",
        "no validation split: 16 rows of train are cut for it",
    )
    assert load_task(str(path)).fingerprint == task.fingerprint
    assert load_task(str(path), seed=1).fingerprint != task.fingerprint


@pytest.mark.parametrize(("rare", "metric"), [(15, "accuracy"), (14, "macro_f1")])
def test_a_class_that_holds_nearly_all_rows_changes_the_metric(
    rare: int, metric: str, tmp_path: Path
) -> None:
    """50 training rows, of which 35 are 70 %."""
    rows = [{"text": f"words {n}", "label": "spam" if n < rare else "ham"} for n in range(50)]
    folder = tmp_path / "mail"
    folder.mkdir()
    _write(folder / "train.jsonl", rows)
    for split in ("validation", "test"):
        _write(folder / f"{split}.jsonl", [{**row, "text": f"{split} {n}"}
                                           for n, row in enumerate(rows)])  # fmt: skip
    task = load_task(str(folder))
    assert task.metric == metric
    told = "72% of the training rows are 'ham', so macro F1 is the metric"
    assert any(notice.startswith(told) for notice in task.notices) == (metric == "macro_f1")


def test_a_pair_and_a_regression(tmp_path: Path) -> None:
    rows = [{"premise": f"p {n}", "hypothesis": f"h {n}", "score": n / 10} for n in range(20)]
    task = load_task(str(_write(tmp_path / "a.jsonl", rows)))
    assert (task.kind, task.metric, task.num_outputs) == ("regression", "pearson", 1)
    assert task.train.text_pairs is not None
    assert task.train.text_pairs[0].startswith("h ")
    classed = [{**row, "score": n % 2} for n, row in enumerate(rows)]
    assert load_task(str(_write(tmp_path / "b.jsonl", classed))).kind == "pair_classification"


def test_named_columns(tmp_path: Path) -> None:
    rows = [{"a": f"first {n}", "b": f"second {n}", "c": n % 2, "d": n % 3} for n in range(24)]
    path = _write(tmp_path / "a.jsonl", rows)
    task = load_task(str(path), columns=ColumnNames(text="b", label="d"))
    assert task.train.texts is not None
    assert task.train.texts[0].startswith("second")
    assert task.num_outputs == 3


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (ColumnNames(text="a", label="a"), "'a' of .* would be two of text, second text and label"),
        (ColumnNames(text="a", text_pair="a", label="c"), "'a' of .* would be two of"),
        (ColumnNames(text="label"), "'label' of .* would be two of"),
    ],
)
def test_a_column_does_not_play_two_parts(
    tmp_path: Path, columns: ColumnNames, message: str
) -> None:
    rows = [{"a": f"words {n}", "c": "xyz"[n % 3], "label": "pq"[n % 2]} for n in range(24)]
    with pytest.raises(TaskError, match=message):
        load_task(str(_write(tmp_path / "a.jsonl", rows)), columns=columns)


def test_images_have_no_second_text(tmp_path: Path) -> None:
    columns = ColumnNames(text="image", text_pair="label", label="label")
    with pytest.raises(TaskError, match=r"--text-pair-column is 'label', but the rows .* images"):
        load_task(str(_images(tmp_path)), columns=columns)


def test_images_with_numbers_as_labels_are_refused(tmp_path: Path) -> None:
    images = read_path(_images(tmp_path / "folder")).tables["train"]
    labels = [number / 10 for number in range(images.num_rows)]
    table = pa.table({"image": images["image"], "label": labels})
    parquet.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(TaskError, match="are decimal numbers, but images are only sorted into"):
        load_task(str(tmp_path / "rows.parquet"))


def test_labels_that_a_missing_one_made_decimals_are_classes(tmp_path: Path) -> None:
    rows = [{**row, "label": float(row["label"])} for row in _rows()]  # type: ignore[arg-type]
    task = load_task(str(_write(tmp_path / "a.jsonl", rows)))
    assert (task.kind, task.label_names) == ("classification", ("0", "1"))
    assert any("written as decimals" in notice for notice in task.notices)


def test_repeated_texts_stay_with_the_test_split(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", _rows(30))
    _write(tmp_path / "dev.jsonl", _rows(10, first=25))
    _write(tmp_path / "test.jsonl", [{**row, "text": f" {row['text']}".upper()}
                                     for row in _rows(10, first=33)])  # fmt: skip
    task = load_task(str(tmp_path))
    assert _sizes(task) == [25, 8, 10]
    assert task.notices == (
        "5 rows of train stand in validation or test too: left out",
        "2 rows of validation stand in test too: left out",
    )


def test_a_test_split_without_labels_is_left_out(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", _rows(30))
    _write(tmp_path / "test.jsonl", [{"text": f"secret {n}"} for n in range(10)])
    task = load_task(str(tmp_path))
    assert sum(_sizes(task)) == 30
    assert task.notices[0] == "the test split has no labels and is left out"


def test_rows_without_text_are_left_out(tmp_path: Path) -> None:
    rows = [*_rows(20), {"text": " ", "label": 0}, {"text": None, "label": 1}]
    task = load_task(str(_write(tmp_path / "a.jsonl", rows)))
    assert sum(_sizes(task)) == 20
    assert task.notices[0] == "2 rows of train have no text: left out"


def test_the_fewest_rows_that_are_taken(tmp_path: Path) -> None:
    task = load_task(str(_write(tmp_path / "a.jsonl", _rows(8))))
    assert _sizes(task) == [5, 1, 2]
    assert set(task.train.labels) == {0, 1}


def _images(folder: Path, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number, mode in enumerate(("RGB", "L", "RGBA", "P", "1", "CMYK")):
            noise = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8))
            suffix = "jpg" if mode == "CMYK" else "png"
            noise.convert(mode).save(folder / name / f"{number}.{suffix}")
    return folder


def test_an_image_folder_of_mixed_modes(tmp_path: Path) -> None:
    task = load_task(str(_images(tmp_path)))
    assert (task.kind, task.modality, task.label_names) == (
        *("image_classification", "image", ("cat", "dog")),
    )
    assert _sizes(task) == [8, 2, 2]
    assert task.train.images is not None
    assert all(isinstance(image, bytes) for image in task.train.images)


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "a.jsonl", _rows())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_task("~/a.jsonl").name.endswith("a.jsonl")


def test_the_name_of_a_task_means_the_task_and_not_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sms_spam").mkdir()
    _write(tmp_path / "sms_spam" / "train.jsonl", _rows())
    assert load_task("sms_spam").source == "bundled"
    assert load_task("./sms_spam").source == "file"


_Change = Callable[[list[dict[str, object]]], list[dict[str, object]]]
BAD_ROWS: dict[str, tuple[_Change, str]] = {
    "no text column": (
        lambda rows: [{"n": n, "label": row["label"]} for n, row in enumerate(rows)],
        "no text column",
    ),
    "two text columns": (
        lambda rows: [{**row, "review": row["text"]} for row in rows],
        "several columns that may be the text: text, review.*--text-column",
    ),
    "no label column": (
        lambda rows: [{"text": row["text"]} for row in rows],
        "no label column.*--label-column",
    ),
    "one class": (lambda rows: [{**row, "label": 1} for row in rows], "has the label '1'"),
    "a lone example": (
        lambda rows: [*rows, {"text": "lone", "label": 7}],
        "class '7' .* has a single example",
    ),
    "missing labels": (
        lambda rows: [*rows, {"text": "x", "label": None}, {"text": "y", "label": None}],
        "missing in 2 of 42 rows .* first in row 41",
    ),
    "numbers as text": (
        lambda rows: [{**row, "text": n} for n, row in enumerate(rows)],
        "'text' of .* holds numbers",
    ),
    "digits as text": (
        lambda rows: [{**row, "text": str(n)} for n, row in enumerate(rows)],
        "'text' of .* holds numbers",
    ),
    "few rows": (lambda rows: rows[:7], "has 7 rows; at least 8 are needed"),
    "many classes": (
        lambda _: [{"text": f"t {n}", "label": n // 2} for n in range(20_002)],
        "10,001 classes; allowed are 2 to 10,000",
    ),
    "a long row": (
        lambda rows: [*rows, {"text": "x" * (1 << 20) + "y", "label": 1}],
        "row 41 .* has 1,048,577 bytes",
    ),
    "one text": (lambda rows: [{**row, "text": "same"} for row in rows], "texts are all the same"),
    "no text at all": (lambda rows: [{**row, "text": " "} for row in rows], "has 0 rows"),
}


@pytest.mark.parametrize("fault", BAD_ROWS)
def test_bad_rows_are_refused(tmp_path: Path, fault: str) -> None:
    change, message = BAD_ROWS[fault]
    path = _write(tmp_path / "a.jsonl", change(_rows()))
    with pytest.raises(TaskError, match=message) as caught:
        load_task(str(path))
    assert caught.value.cure
    assert str(path) in str(caught.value)


def test_a_train_split_that_is_all_test_is_refused(tmp_path: Path) -> None:
    for name in ("train", "test"):
        _write(tmp_path / f"{name}.jsonl", _rows(10))
    with pytest.raises(TaskError, match=r"no row of .* is left for train"):
        load_task(str(tmp_path))


def test_a_broken_image_is_named_by_its_path(tmp_path: Path) -> None:
    broken = _images(tmp_path) / "dog" / "0.png"
    broken.write_bytes(broken.read_bytes()[:-60])
    with pytest.raises(TaskError, match=f"the image '{broken}' does not decode"):
        load_task(str(tmp_path))


def test_an_image_over_50_megapixels_is_refused(tmp_path: Path) -> None:
    large = _images(tmp_path) / "cat" / "0.png"
    Image.new("1", (7100, 7100)).save(large)
    with pytest.raises(TaskError, match=rf"the image '{large}' is too large \(7100 x 7100"):
        load_task(str(tmp_path))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("imbd", "no dataset 'imbd'.*Did you mean imdb"),
        ("zzzz", "no dataset 'zzzz'.*metaft tasks list"),
        ("", "no dataset ''"),
        ("./missing.csv", "no file or folder './missing.csv'"),
        ("missing.parquet", "no file or folder"),
        ("glue/sst-2", r"Did you mean glue/sst2 .*\? Otherwise: Leave out --offline"),
        ("some/such", "is not on this machine, and the hub may not be asked"),
        ("yelp_review_full", "'Yelp/yelp_review_full' is not on this machine.*METAFT_DATA"),
    ],
)
def test_what_is_not_there_is_refused(dataset: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        load_task(dataset, offline=True)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(st.integers(0, 25), min_size=12, max_size=60),
    sizes=st.tuples(st.integers(0, 12), st.integers(0, 12)),
)
def test_no_text_stands_in_two_splits(
    tmp_path: Path, texts: list[int], sizes: tuple[int, int]
) -> None:
    rows: list[dict[str, object]] = [
        {"text": f"text {text}", "label": row % 2} for row, text in enumerate(texts)
    ]
    folder = tmp_path / f"{abs(hash((tuple(texts), sizes)))}"
    folder.mkdir(exist_ok=True)
    _write(folder / "train.jsonl", rows)
    for name, count in zip(("validation", "test"), sizes, strict=True):
        if count:
            _write(folder / f"{name}.jsonl", rows[:count])
    try:
        task = load_task(str(folder))
    except TaskError:
        return  # nothing is left of a split
    keys = [set(content_keys(split)) for split in (task.train, task.validation, task.test)]
    assert sum(map(len, keys)) == len(set.union(*keys))
    assert all(keys)
