from __future__ import annotations

import math

import pytest

from metaft.errors import MappingError
from metaft.traces.rows import Row

_ROW = Row(
    "runs.csv",
    7,
    {"lr": "1e-4", "a.b": 1, "a": {"b": 2, "c": {"d": 3}}, "none": None, "nan": math.nan, "": "x"},
)


def test_a_dot_goes_into_a_nested_record_unless_a_column_is_called_so() -> None:
    assert _ROW.cell("a.c.d") == 3
    assert _ROW.cell("a.b") == 1
    assert _ROW.cell("none.deeper") is None


def test_a_missing_column_is_named_with_those_there_are() -> None:
    with pytest.raises(MappingError, match=r"runs\.csv has no column 'a\.x'.*a\.c\.d"):
        _ROW.cell("a.x")


def test_numbers_are_constants_cells_and_texts() -> None:
    assert _ROW.number(0.5) == 0.5
    assert _ROW.number("lr") == 1e-4
    for name in ("none", "nan", ""):
        with pytest.raises(MappingError, match=r"row 7 of runs\.csv.*allowed is a number"):
            _ROW.number(name)
    with pytest.raises(MappingError, match="True; allowed is a number"):
        _ROW.as_number("x", True)


def test_known_is_what_is_neither_empty_nor_nan() -> None:
    row = Row("t", 1, {"a": "", "b": "NaN", "c": 0.0, "d": None, "e": "x"})
    assert [row.is_known(name) for name in "abcde"] == [False, False, True, False, True]


@pytest.mark.parametrize("cell", ["no list", 3, "{}", '"text"'])
def test_what_is_no_list_is_no_curve(cell: object) -> None:
    with pytest.raises(MappingError, match="allowed is a list"):
        Row("t", 1, {"curve": cell}).items("curve")


def test_lists_come_as_lists_or_as_text() -> None:
    row = Row("t", 1, {"list": [[1, 0.5]], "text": "[[1, 0.5]]", "empty": "", "none": None})
    assert row.items("list") == row.items("text") == [[1, 0.5]]
    assert row.items("empty") == row.items("none") == []
    with pytest.raises(MappingError, match=r"holds \[1\]; allowed is \[position, score\]"):
        row.as_pair("list", [1])
