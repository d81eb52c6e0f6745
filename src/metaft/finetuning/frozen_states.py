"""Frozen states: the hidden states of all rows of a split, one after the other in one array.

The array lies in memory as long as there is room, and beyond that in a file without a name in
the temporary folder (`TMPDIR` chooses it): the system takes its space back when the process
ends, however it ends.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Protocol

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class FrozenStates:
    """The hidden states of one split after one depth.

    Attributes:
        flat: `(tokens of all rows + 1, width)` for texts, without their padding; for images
            `(rows + 1, channels, h, w)`. The last one is zero: it stands for padding.
        starts: `(rows,)` where each row begins in `flat`.
        lengths: `(rows,)` tokens of each row; 1 for images.
        is_spilled: Whether `flat` is mapped from a file.
    """

    flat: Tensor
    starts: np.ndarray
    lengths: np.ndarray
    is_spilled: bool = False

    def gather(self, rows: np.ndarray, tokens: int | None) -> Tensor:
        """Put rows together as a batch, in float32 at least.

        Args:
            rows: Row numbers.
            tokens: Texts are padded with zeros to so many tokens; None for images.

        Returns:
            `(rows, tokens, width)` or `(rows, channels, h, w)`, where the states lie.
        """
        if tokens is None:
            return self._pick(self.starts[rows])
        steps = np.arange(tokens)
        at = self.starts[rows, None] + steps  # (rows, tokens)
        at[steps >= self.lengths[rows, None]] = len(self.flat) - 1
        return self._pick(at.ravel()).view(len(rows), tokens, -1)

    def _pick(self, at: np.ndarray) -> Tensor:
        picked = self.flat.index_select(0, torch.from_numpy(at).to(self.flat.device))
        return picked.float() if picked.dtype == torch.float16 else picked


class _Place(Protocol):
    """Where an array grows from its beginning to its end."""

    memory_bytes: int

    def append(self, states: Tensor) -> None: ...

    def finish(self) -> Tensor: ...


class Room:
    """Memory up to a limit, and files beyond it.

    Args:
        limit_bytes: Most memory that all states together take.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def place(self, shape: Sequence[int], dtype: torch.dtype, device: str) -> _Place:
        """Return a place for an array: in memory where it still fits, else in a file.

        Raises:
            OSError: If there can be no temporary file.
        """
        needed = math.prod(shape) * dtype.itemsize
        if self.used_bytes + needed <= self.limit_bytes:
            self.used_bytes += needed
            return _InMemory(torch.empty(tuple(shape), dtype=dtype, device=device))
        return _InFile(shape, dtype)

    def give_back(self, place: _Place) -> None:
        """Take back the memory of a place that is not used after all."""
        self.used_bytes -= place.memory_bytes


class _InMemory:
    def __init__(self, array: Tensor) -> None:
        self.memory_bytes = array.nbytes
        self._array = array
        self._filled = 0

    def append(self, states: Tensor) -> None:
        self._array[self._filled : self._filled + len(states)] = states
        self._filled += len(states)

    def finish(self) -> Tensor:
        return self._array


class _InFile:
    """A file that is written from its beginning to its end, then mapped.

    It is written, not mapped, at first: a full disk is then an error that can be caught, where
    writing to a mapping would end the process.
    """

    memory_bytes = 0

    def __init__(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        self._shape = tuple(shape)
        self._dtype = torch.empty(0, dtype=dtype).numpy().dtype
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="metaft-states-")  # noqa: SIM115

    def append(self, states: Tensor) -> None:
        try:
            self._file.write(states.cpu().contiguous().numpy().data)
        except OSError:
            self._close()
            raise

    def finish(self) -> Tensor:
        try:
            self._file.flush()
            # Copy on write: torch wants an array that may be written, and nothing writes it.
            mapped = np.memmap(self._file, self._dtype, mode="c", shape=self._shape)
        finally:
            self._close()
        return torch.from_numpy(mapped)  # Its mapping keeps the file's space.

    def _close(self) -> None:
        with contextlib.suppress(OSError):  # What could not be written is tried again.
            self._file.close()


class StatesWriter:
    """Writes the states of one depth batch by batch.

    Args:
        lengths: `(rows,)` tokens of each row of the split; 1 for images.
        room: Where there may be place.
        dtype: Of what is kept; None keeps what comes.
    """

    def __init__(self, lengths: np.ndarray, room: Room, dtype: torch.dtype | None) -> None:
        self._lengths = lengths
        self._room = room
        self._dtype = dtype
        self._starts = np.zeros(len(lengths), dtype=np.int64)
        self._written = 0
        self._place: _Place | None = None

    def append(self, rows: np.ndarray, states: Tensor) -> None:
        """Add the states of some rows.

        Args:
            rows: Row numbers.
            states: Theirs, in this order: `(tokens of these rows, width)` without padding, or
                `(rows, channels, h, w)`.

        Raises:
            OSError: If the disk is full.
            OverflowError: If a state is beyond the range of what is kept.
        """
        kept = states.to(self._dtype or states.dtype)
        if not torch.isfinite(kept).all() and torch.isfinite(states).all():
            self._abandon()
            raise OverflowError(f"{float(states.abs().max()):.3g} is beyond half precision")
        self._place_for(kept).append(kept)
        lengths = self._lengths[rows]
        self._starts[rows] = self._written + np.cumsum(lengths) - lengths
        self._written += len(kept)

    def finish(self) -> FrozenStates:
        """Return the states of all rows.

        Raises:
            OSError: If the disk is full.
        """
        place = self._place
        if place is None:
            raise RuntimeError("states are appended before they are finished")
        place.append(self._padding)
        flat = place.finish()
        return FrozenStates(flat, self._starts, self._lengths, isinstance(place, _InFile))

    def _abandon(self) -> None:
        if self._place is not None:
            self._room.give_back(self._place)
            self._place = None

    def _place_for(self, states: Tensor) -> _Place:
        """Find a place once the shape of a state is known."""
        if self._place is None:
            self._padding = torch.zeros_like(states[:1])
            shape = (int(self._lengths.sum()) + 1, *states.shape[1:])
            self._place = self._room.place(shape, states.dtype, states.device.type)
        return self._place
