from __future__ import annotations

import pytest

from metaft.cli.recording import RecordingBar
from metaft.traces.recorder import Progress

GOES_ON = "are recorded and kept; the same command goes on with the rest."


def _record(end: BaseException, done: int, total: int, searched: bool) -> None:
    with RecordingBar() as bar:
        bar.begin(Progress(done, total, skipped=0, seconds_left=1.0))
        if searched:
            bar.search("", 0, 4)
        raise end


@pytest.mark.parametrize(
    ("done", "total", "searched", "kept"),
    [
        (3, 8, False, "3 of 8 runs"),
        (0, 0, True, "The trials that have ended"),
        (8, 8, True, "8 of 8 runs and the trials that have ended"),
    ],
)
def test_an_interrupt_says_what_is_kept_and_how_to_go_on(
    capsys: pytest.CaptureFixture[str], done: int, total: int, searched: bool, kept: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        _record(KeyboardInterrupt(), done, total, searched)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{kept} {GOES_ON}" in said


def test_another_end_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="other"):
        _record(ValueError("other"), 3, 8, searched=True)
    assert GOES_ON not in capsys.readouterr().err
