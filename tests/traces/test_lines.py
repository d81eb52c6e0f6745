from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from metaft.errors import StoreError
from metaft.traces.lines import TraceLines, read_lines
from metaft.traces.store import TraceStore

if TYPE_CHECKING:
    from tests.traces.conftest import TraceFactory


@pytest.fixture
def file(tmp_path: Path, make_trace: TraceFactory) -> Path:
    """Return a file of two traces."""
    lines = TraceLines(tmp_path / "traces.jsonl")
    for key in ("0", "1"):
        lines.append(make_trace(key).to_json())
    lines.close()
    return tmp_path / "traces.jsonl"


def test_what_is_written_is_read(file: Path, make_trace: TraceFactory) -> None:
    assert read_lines(file) == [make_trace("0"), make_trace("1")]
    assert TraceLines(file).traces == read_lines(file)


@pytest.mark.parametrize("kept", [1, 5, 20, 300, -1])
def test_half_a_line_is_cut_off(file: Path, make_trace: TraceFactory, kept: int) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole + make_trace("2").to_json().encode()[:kept])
    assert [trace.trace_id for trace in read_lines(file)] == ["0", "1"]
    lines = TraceLines(file)
    assert file.read_bytes() == whole
    lines.append(make_trace("2").to_json())
    assert [trace.trace_id for trace in read_lines(file)] == ["0", "1", "2"]


class _FullDisk:
    """A file on a disk that takes so many more bytes, and says so only when it takes none."""

    def __init__(self, file, room: int) -> None:
        self._file, self._room = file, room

    def write(self, content: bytes) -> int:
        if not self._room:
            raise OSError(28, "No space left on device")
        written = self._file.write(content[: self._room])
        self._room -= written
        return written

    def __getattr__(self, name: str):
        return getattr(self._file, name)


def test_a_line_is_whole_or_not_there(file: Path, make_trace: TraceFactory) -> None:
    whole, line = file.read_bytes(), make_trace("2").to_json()
    lines = TraceLines(file)
    lines._file = _FullDisk(lines._file, room=60)
    with pytest.raises(StoreError, match="No space left"):
        lines.append(line)
    assert file.read_bytes() == whole
    lines._file = _FullDisk(lines._file._file, room=10_000)
    lines.append(line)
    assert [trace.trace_id for trace in read_lines(file)] == ["0", "1", "2"]


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    for content in (b"my notes", b"my notes\nand more\n", b'{"trace_id":"0"}\n', b"\xff\n"):
        other = tmp_path / "other"
        other.write_bytes(content)
        with pytest.raises(StoreError, match="other"):
            TraceLines(other)
        assert other.read_bytes() == content


def test_two_writers_are_one_too_many(file: Path) -> None:
    first = TraceLines(file)
    with pytest.raises(StoreError, match="another process is writing"):
        TraceLines(file)
    first.close()
    TraceLines(file).close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        TraceLines(tmp_path / "no" / "traces.jsonl")


def test_a_store_takes_them(file: Path, store: TraceStore, make_trace: TraceFactory) -> None:
    assert store.import_file(file) == 2
    assert store.import_file(file) == 0
    assert store.traces() == [make_trace("0"), make_trace("1")]
