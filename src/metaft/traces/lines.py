"""Traces as JSON lines: a file that one process appends to, and that survives a kill."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from metaft.errors import StoreError
from metaft.traces.trace import Trace

_CURE = (
    "Give a file that metaft traces export or the runs of a pack have written, or a new name; "
    "a table of other runs is imported with --mapping"
)
_FIRST_BYTES = b'{"trace_id":"'


class TraceLines:
    """A file of traces, one per line, that this process alone appends to.

    What a killed process left of its last line is cut off.

    Args:
        path: Created where it is missing.

    Raises:
        StoreError: If it cannot be written, holds something else, or another process has it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        self._lock()
        self.traces, end = _read(path)
        """Those that the file held when it was opened."""
        self._file.truncate(end)

    def append(self, line: str) -> None:
        """Add a trace (`Trace.to_json`); it is on the disk when this returns.

        Raises:
            StoreError: If the disk does not take it.
        """
        end = self._file.seek(0, os.SEEK_END)
        try:
            self._write(line.encode() + b"\n")
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(end)
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _write(self, content: bytes) -> None:
        """Write all of it: a disk that is nearly full takes a part without an error."""
        while content:
            content = content[self._file.write(content) :]

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise StoreError(
                f"another process is writing to {self._path}",
                "Wait for its end, or name another file and import both",
            ) from error

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(
            f"the traces cannot be written to {self._path}: {error.strerror}",
            "Give a file that can be written, and call again: what it holds is not lost",
        )


def read_lines(path: Path) -> list[Trace]:
    """Read the traces of a file of JSON lines; half a line at its end is left out.

    Raises:
        StoreError: If the file cannot be read or holds something else.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[list[Trace], int]:
    """Return the traces, and the byte at which the last whole line ends."""
    try:
        whole, newline, rest = path.read_bytes().rpartition(b"\n")
        traces = [Trace.from_json(line.decode()) for line in whole.split(b"\n") if line]
    except (OSError, ValueError) as error:
        raise StoreError(
            f"the traces in {path} cannot be read: {error}",
            _CURE,
        ) from error
    if rest and not rest.startswith(_FIRST_BYTES[: len(rest)]):
        raise StoreError(
            f"{path} does not hold traces, but {rest[:20]!r}",
            _CURE,
        )
    return traces, len(whole + newline)
