from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaft.errors import UserError
from metaft.traces.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("0.5s", 0.5), ("1d", 86400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "m", "0s", "-5m", "1 h", "5m!", "five minutes"])
def test_no_durations(text: str) -> None:
    with pytest.raises(UserError, match="is no duration"):
        parse_duration(text)


@given(st.integers(1, 10**9))
def test_seconds_round_trip(seconds: int) -> None:
    assert parse_duration(f"{seconds}s") == seconds
