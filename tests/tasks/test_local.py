"""Files and folders: every format that is read, and every one that is refused."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from metaft.errors import TaskError
from metaft.tasks.local import existing_path, looks_like_path, read_path

ROWS = [{"text": f"row {number}, said “so”", "label": number % 2} for number in range(4)]


def _write_csv(path: Path, delimiter: str = ",") -> None:
    lines = [f"text{delimiter}label"]
    lines += [f'"{row["text"]}"{delimiter}{row["label"]}' for row in ROWS]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_json_lines(path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))


WRITERS: dict[str, Callable[[Path], object]] = {
    "rows.csv": _write_csv,
    "ROWS.CSV": _write_csv,
    "semicolons.csv": lambda path: _write_csv(path, ";"),
    "tabs.csv": lambda path: _write_csv(path, "\t"),
    "rows.tsv": lambda path: _write_csv(path, "\t"),
    "rows.jsonl": _write_json_lines,
    "rows.ndjson": _write_json_lines,
    "lines.json": _write_json_lines,
    "array.json": lambda path: path.write_text(json.dumps(ROWS)),
    "rows.parquet": lambda path: parquet.write_table(pa.Table.from_pylist(ROWS), path),
}


def _image(path: Path, colour: str = "red") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    raw = read_path(path)
    assert list(raw.tables) == ["train"]
    assert raw.tables["train"].to_pylist() == ROWS
    assert (raw.name, raw.source) == (str(path), "file")


def test_csv_with_line_breaks_blanks_and_the_word_null(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"two\nlines",0\nnull,1\nNA,\n,0\n')
    table = read_path(path).tables["train"]
    assert table["text"].to_pylist() == ["two\nlines", "null", "NA", ""]
    assert table["label"].to_pylist() == [0, 1, None, 0]


def test_a_semicolon_in_the_header_parts_nothing_beside_a_comma(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label;kind\nso,1;2\n")
    assert read_path(path).tables["train"].to_pylist() == [{"text": "so", "label;kind": "1;2"}]


@pytest.mark.parametrize(
    ("lines", "texts"),
    [
        (['"quoted ""so"""', "plain"], ['quoted "so"', "plain"]),
        (['"lone quote', 'another"', "plain"], ['"lone quote', 'another"', "plain"]),
        (['"lone quote', "plain"], ['"lone quote', "plain"]),
        (['"two\nlines"', "plain"], ["two\nlines", "plain"]),
    ],
)
def test_quotes_in_tsv_mean_what_keeps_the_rows(
    tmp_path: Path, lines: list[str], texts: list[str]
) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\n" + "".join(f"{line}\t1\n" for line in lines))
    assert read_path(path).tables["train"]["text"].to_pylist() == texts


def test_a_column_is_typed_by_all_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "some words,1\n" * 200_000 + "the last,one\n")
    assert read_path(path).tables["train"]["label"][-1].as_py() == "one"


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_a_very_long_row_is_read(tmp_path: Path, name: str) -> None:
    """That it is too long is said later, with its number."""
    long = "x" * (3 << 20)
    rows = {
        "a.csv": f"text,label\nshort,1\n{long},0\n",
        "a.tsv": f"text\tlabel\nshort\t1\n{long}\t0\n",
        "a.jsonl": f'{{"text": "short", "label": 1}}\n{{"text": "{long}", "label": 0}}\n',
    }
    (tmp_path / name).write_text(rows[name])
    assert read_path(tmp_path / name).tables["train"]["text"].to_pylist() == ["short", long]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftext,label\nx,1\n")
    assert read_path(path).tables["train"].column_names == ["text", "label"]
    array = tmp_path / "a.json"
    array.write_bytes(b"\xef\xbb\xbf" + json.dumps(ROWS).encode())
    assert read_path(array).tables["train"].num_rows == 4


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"text,label\n", "has no rows"),
        ("a.csv", b"text,label\na,1\nb,2,3\n", "cannot be read as csv"),
        ("a.csv", b"text,label\n\xff\xfe\x00bad,1\n", "column 'text' is not in UTF-8"),
        ("a.jsonl", b'{"text": "a"\n', "cannot be read as jsonl"),
        ("a.json", b"[1, 2]", "something else than objects"),
        ("a.json", b'[{"a": 1}', "cannot be read as json"),
        ("a.parquet", b"PAR1 and then nothing", "cannot be read as parquet"),
        ("a.xlsx", b"PK", "is no data file; allowed are .csv, .tsv"),
        ("a.pkl", pickle.dumps(ROWS), "running code from it"),
        ("a.py", b"print()", "running code from it"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TaskError, match=message):
        read_path(path)


def test_a_folder_of_split_files(tmp_path: Path) -> None:
    for name in ("train-00000-of-00002.csv", "train-00001-of-00002.csv", "dev.csv", "Test.csv"):
        _write_csv(tmp_path / name)
    _write_csv(tmp_path / "notes.csv")
    tables = read_path(tmp_path).tables
    assert {split: table.num_rows for split, table in tables.items()} == {
        "train": 8,
        "validation": 4,
        "test": 4,
    }


def test_a_folder_with_one_file_is_that_file(tmp_path: Path) -> None:
    _write_csv(tmp_path / "reviews.csv")
    assert read_path(tmp_path).tables["train"].num_rows == 4


def test_files_of_no_split_are_refused(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        _write_csv(tmp_path / name)
    with pytest.raises(TaskError, match="2 data files, none of them named train"):
        read_path(tmp_path)


def test_a_folder_without_train_is_refused(tmp_path: Path) -> None:
    for name in ("dev.csv", "test.csv"):
        _write_csv(tmp_path / name)
    with pytest.raises(TaskError, match="has no training split, only validation, test"):
        read_path(tmp_path)


def test_files_of_one_split_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train-1.jsonl").write_text('{"text": "a", "label": 1}\n')
    (tmp_path / "train-2.jsonl").write_text('{"text": ["a"], "label": 1}\n')
    with pytest.raises(TaskError, match="do not fit together"):
        read_path(tmp_path)


def test_an_image_folder(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/deep/2.jpg", "dog/3.PNG"):
        _image(tmp_path / name)
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    raw = read_path(tmp_path)
    assert raw.tables["train"]["label"].to_pylist() == ["cat", "cat", "dog"]
    first = raw.tables["train"]["image"][0].as_py()
    assert first["path"] == str(tmp_path / "cat/1.png")
    assert first["bytes"] == (tmp_path / "cat/1.png").read_bytes()


def test_an_image_folder_with_splits(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "test/dog/4.png"):
        _image(tmp_path / name)
    tables = read_path(tmp_path).tables
    assert {split: table["label"].to_pylist() for split, table in tables.items()} == {
        "train": ["cat", "dog"],
        "validation": ["cat"],
        "test": ["dog"],
    }


@pytest.mark.parametrize("left_behind", [".ipynb_checkpoints", "__MACOSX", ".git"])
def test_what_programs_leave_in_an_image_folder_is_no_class(
    tmp_path: Path, left_behind: str
) -> None:
    for name in ("cat/1.png", "dog/2.png"):
        for split in ("train", "test"):
            _image(tmp_path / "splits" / split / name)
        _image(tmp_path / "classes" / name)
    for folder in ("splits", "splits/train", "splits/train/cat", "classes", "classes/cat"):
        _image(tmp_path / folder / left_behind / "cat" / "copy.png")
    tables = read_path(tmp_path / "splits").tables
    assert list(tables) == ["train", "test"]
    for table in (*tables.values(), read_path(tmp_path / "classes").tables["train"]):
        assert table["label"].to_pylist() == ["cat", "dog"]


def test_an_image_folder_of_which_only_some_folders_are_splits_is_refused(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "train/dog/2.png", "test/dog/4.png", "unlabelled/5.png"):
        _image(tmp_path / name)
    with pytest.raises(TaskError, match=r"holds 'test', which is a split .* beside 'unlabelled'"):
        read_path(tmp_path)


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    for name in ("bus/1.png", "train/2.png"):
        _image(tmp_path / name)
    assert read_path(tmp_path).tables["train"]["label"].to_pylist() == ["bus", "train"]


def test_two_image_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "dev/cat/2.png", "val/dog/3.png"):
        _image(tmp_path / name)
    with pytest.raises(TaskError, match="two folders of the validation split, 'dev' and 'val'"):
        read_path(tmp_path)


def test_a_json_array_has_the_columns_of_all_its_objects(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"text": "a"}, {"text": "b", "label": 1}]))
    rows = [{"text": "a", "label": None}, {"text": "b", "label": 1}]
    assert read_path(path).tables["train"].to_pylist() == rows


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"neither data files .* nor one folder of images"):
        read_path(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(TaskError, match="nor one folder of images"):
        read_path(tmp_path)


def test_what_save_to_disk_wrote(tmp_path: Path) -> None:
    import datasets

    saved = datasets.Dataset.from_list(ROWS)
    saved = saved.cast_column("label", datasets.ClassLabel(names=["no", "yes"]))
    saved.select([3, 1]).save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": saved, "dev": saved}).save_to_disk(tmp_path / "many")
    raw = read_path(tmp_path / "one")
    assert raw.tables["train"].to_pylist() == [ROWS[3], ROWS[1]]
    assert raw.class_names == {"label": ("no", "yes")}
    assert list(read_path(tmp_path / "many").tables) == ["train", "validation"]


def test_parts_of_one_split_in_a_save_to_disk_folder_are_put_together(tmp_path: Path) -> None:
    import datasets

    saved = datasets.Dataset.from_list(ROWS)
    saved = saved.cast_column("label", datasets.ClassLabel(names=["no", "yes"]))
    parts = {"train": saved, "train_more": saved, "test_matched": saved, "test_mismatched": saved}
    datasets.DatasetDict(parts).save_to_disk(tmp_path)
    raw = read_path(tmp_path)
    assert {split: table.num_rows for split, table in raw.tables.items()} == {"train": 8, "test": 8}
    assert raw.class_names == {"label": ("no", "yes")}


def test_a_damaged_save_to_disk_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(TaskError, match="looks like one of save_to_disk, but cannot be read"):
        read_path(tmp_path)


def test_class_names_in_a_parquet_file(tmp_path: Path) -> None:
    features = {
        "label": {"_type": "ClassLabel", "names": ["no", "yes"]},
        "text": {"_type": "Value"},
    }
    for written in ({"info": {"features": features}}, {"info": []}, []):
        table = pa.Table.from_pylist(ROWS)
        table = table.replace_schema_metadata({"huggingface": json.dumps(written)})
        parquet.write_table(table, tmp_path / "a.parquet")
        names = read_path(tmp_path / "a.parquet").class_names
        assert names == ({"label": ("no", "yes")} if isinstance(written, dict)
                         and isinstance(written["info"], dict) else {})  # fmt: skip


@pytest.mark.parametrize("name", ["./x", "/data/x", "~/x", "x.csv", "x.JSONL", "x.pkl"])
def test_what_looks_like_a_path(name: str) -> None:
    assert looks_like_path(name)


@pytest.mark.parametrize("name", ["ag_news", "glue/sst2", "owner/name:config", "v1.5/data"])
def test_what_does_not_look_like_a_path(name: str) -> None:
    assert not looks_like_path(name)


@pytest.mark.parametrize("name", ["", "x" * 5000, "~no-such-user/x", "a\0b", "no/such"])
def test_names_that_are_no_paths(name: str) -> None:
    assert existing_path(name) is None


def test_what_is_neither_file_nor_folder_is_refused() -> None:
    with pytest.raises(TaskError, match="'/dev/null' cannot be read"):
        read_path(Path("/dev/null"))
