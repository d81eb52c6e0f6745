"""Answers go to stdout alone; notices and progress to stderr."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from metaft.cli import output

_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # What is left out of the texts, YAML reads back as something else: line breaks, surrogates.
    | st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc", min_size=1), inner),
    max_leaves=8,
)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _written(capsys: pytest.CaptureFixture[str], answer: Any, output_format: str) -> str:
    output.print_answer(answer, output_format, render_table=str)
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@given(st.dictionaries(st.text("abc", min_size=1), _PLAIN))
def test_plain_values_stay_as_they_are(answer: dict[str, Any]) -> None:
    plain = output._plain(answer)
    assert json.loads(json.dumps(plain)) == plain == answer
    assert yaml.safe_load(yaml.safe_dump(plain)) == plain


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.5), 0.5),
        (np.int32(3), 3),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([0.5, np.nan]), [0.5, None]),
        (float("nan"), None),
        (float("-inf"), None),
        (Path("a") / "b", "a/b"),
        ((1, (2,)), [1, [2]]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({128: {"score": np.float32(0.25)}}, {"128": {"score": 0.25}}),
    ],
)
def test_other_values_become_plain(value: Any, plain: Any) -> None:
    assert output._plain(value) == plain


def test_json_is_the_answer_alone(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"name": "überall", "scores": [1, float("nan")]}
    assert json.loads(_written(capsys, answer, "json")) == {"name": "überall", "scores": [1, None]}


def test_yaml_keeps_order_and_letters(capsys: pytest.CaptureFixture[str]) -> None:
    assert _written(capsys, {"b": "ü", "a": 1}, "yaml") == "b: ü\na: 1\n"


def test_table_is_rendered_from_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert "sms_spam" in _written(capsys, {"task": "sms_spam"}, "table")


def test_table_in_a_pipe_has_room(capsys: pytest.CaptureFixture[str]) -> None:
    line = "x" * (output._PIPE_COLUMNS - len("['']"))
    assert line in _written(capsys, [line], "table")


def test_notice_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_notice("a fifth of the rows was held out")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "a fifth of the rows was held out\n")


def test_progress_is_silent_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress_bar("recording", 2) as advance:
        advance(2, note="sms_spam")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_progress_shows_count_and_note_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with output.progress_bar("recording", 4) as advance:
        advance(3, note="sms_spam")
    shown = terminal.getvalue()
    assert all(part in shown for part in ("recording", "3/4", "left", "sms_spam"))


def test_one_bar_follows_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with output.StepBars() as bars:
        bars.show("describing tasks", 1, 2)
        bars.show("describing tasks", 2, 2)
        bars.show("leaving tasks out", 3, 5)
    shown = terminal.getvalue()
    assert "Describing tasks" in shown
    assert "2/2" in shown
    assert "Leaving tasks out" in shown
    assert "3/5" in shown
