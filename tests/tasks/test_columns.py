"""Which column plays which part."""

from __future__ import annotations

import pyarrow as pa
import pytest

from metaft.errors import TaskError
from metaft.tasks.columns import ColumnNames, Roles, recognise_columns
from metaft.tasks.raw import RawDataset

_IMAGE_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_IMAGES = pa.array([{"bytes": b"1", "path": None}], _IMAGE_TYPE)


def _raw(columns: dict[str, object], **others: dict[str, object]) -> RawDataset:
    """Build a dataset of one row: a list of names stands for texts."""
    tables = {"train": columns, **others}
    return RawDataset(
        name="data.csv",
        source="file",
        tables={split: pa.table({name: value if isinstance(value, pa.Array) else [value]
                                 for name, value in table.items()})
                for split, table in tables.items()},
    )  # fmt: skip


def _recognise(columns: dict[str, object], named: ColumnNames = ColumnNames()) -> Roles:  # noqa: B008
    return recognise_columns(_raw(columns), named)


@pytest.mark.parametrize("text", ["text", "sentence", "Review", "tweet", "content", "v2"])
@pytest.mark.parametrize("label", ["label", "Class", "target", "sentiment", "stars"])
def test_usual_names(text: str, label: str) -> None:
    assert _recognise({text: "a", label: 1}) == Roles(label=label, text=text)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("text", "text_pair"),
        ("sentence1", "sentence2"),
        ("premise", "hypothesis"),
        ("question1", "question2"),
        ("question", "sentence"),
        ("Sentence_A", "Sentence_B"),
    ],
)
def test_pairs(first: str, second: str) -> None:
    roles = _recognise({"idx": 1, second: "b", first: "a", "label": 0})
    assert roles == Roles(label="label", text=first, text_pair=second)
    assert roles.inputs == (first, second)


def test_the_only_texts_are_the_text() -> None:
    columns = {"id": "r1", "url": "u", "n": 3, "wording": "a", "label": "x", "label_text": "y"}
    assert _recognise(columns) == Roles(label="label", text="wording")


def test_label_goes_before_the_other_names() -> None:
    assert _recognise({"text": "a", "score": 1.0, "label": 1}).label == "label"


def test_images() -> None:
    assert _recognise({"img": _IMAGES, "label": 1}) == Roles(label="label", image="img")
    assert _recognise({"image": b"1", "label": 1}).image == "image"
    named = ColumnNames(text="scan")
    assert _recognise({"scan": _IMAGES, "text": "a", "label": 1}, named).image == "scan"


def test_named_columns_come_first() -> None:
    columns = {"title": "a", "body": "b", "label": 1, "mood": "x"}
    named = ColumnNames(text="body", label="mood")
    assert _recognise(columns, named) == Roles(label="mood", text="body")
    named = ColumnNames(text="body", text_pair="title")
    assert _recognise(columns, named).inputs == ("body", "title")


@pytest.mark.parametrize(
    ("columns", "named", "message"),
    [
        ({"n": 1, "label": 0}, ColumnNames(), "no text column .*--text-column"),
        ({"title": "a", "body": "b", "label": 0}, ColumnNames(), "may be the text: title, body"),
        ({"text": "a", "review": "b", "label": 0}, ColumnNames(), "may be the text: text, review"),
        ({"foo": "a", "bar": "b", "label": 0}, ColumnNames(), "may be the text: foo, bar"),
        (
            {"premise": "a", "hypothesis": "b", "text": "c", "label": 0},
            ColumnNames(),
            "may be the text: premise, hypothesis, text",
        ),
        ({"text": "a", "n": 1}, ColumnNames(), "no label column; its columns are text, n"),
        (
            {"text": "a", "score": 1, "stars": 2},
            ColumnNames(),
            "may be the label: score, stars.*--label-column",
        ),
        ({"text": "a", "label": 0}, ColumnNames(text="txt"), "--text-column is 'txt'.*text, label"),
        ({"text": "a", "label": 0}, ColumnNames(label="y"), "--label-column is 'y'"),
        (
            {"text": "a", "label": 0},
            ColumnNames(text_pair="text"),
            "--text-pair-column is 'text' without --text-column",
        ),
    ],
)
def test_what_is_not_beyond_doubt_is_refused(
    columns: dict[str, object], named: ColumnNames, message: str
) -> None:
    with pytest.raises(TaskError, match=message):
        _recognise(columns, named)


def test_two_columns_of_one_name_are_refused() -> None:
    table = pa.table([["a"], ["b"], [1]], names=["text", "text", "label"])
    with pytest.raises(TaskError, match="two columns named 'text'"):
        recognise_columns(RawDataset("x", "file", {"train": table}))


def test_every_split_needs_the_text_and_train_alone_the_label() -> None:
    columns: dict[str, object] = {"text": "a", "label": 0}
    assert recognise_columns(_raw(columns, test={"text": "a"})).text == "text"
    with pytest.raises(TaskError, match=r"the test split .* lacks the column 'text'"):
        recognise_columns(_raw(columns, test={"review": "a", "label": 0}))


def test_what_the_card_knows_needs_no_usual_name() -> None:
    raw = _raw({"foo": "a", "bar": "b", "baz": 1})
    known = RawDataset(
        "x", "hub", raw.tables, columns={"text": "foo", "text_pair": "bar", "label": "baz"}
    )
    assert recognise_columns(known) == Roles(label="baz", text="foo", text_pair="bar")


def test_a_long_list_of_columns_is_cut() -> None:
    with pytest.raises(TaskError, match="c11 and 8 more"):
        _recognise({f"c{number}": 1 for number in range(20)})
