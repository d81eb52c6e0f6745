"""Hidden states in one array: put together as batches, and kept in memory or in a file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from metaft.finetuning.frozen_states import FrozenStates, Room, StatesWriter

LENGTHS = np.array([2, 4, 1])
WIDTH = 3


def _written(
    room: Room, dtype: torch.dtype | None = None
) -> tuple[list[torch.Tensor], FrozenStates]:
    """Write three texts in another order than theirs."""
    rows = [torch.randn(length, WIDTH) for length in LENGTHS]
    writer = StatesWriter(LENGTHS, room, dtype=None)
    writer.append(np.array([1, 0]), torch.cat([rows[1], rows[0]]))
    writer.append(np.array([2]), rows[2])
    return rows, writer.finish()


@pytest.mark.parametrize("limit", [0, 1 << 20], ids=["file", "memory"])
def test_texts_are_padded_with_zeros(limit: int) -> None:
    rows, states = _written(Room(limit))
    assert states.is_spilled == (limit == 0)
    batch = states.gather(np.array([2, 1]), tokens=5)
    assert torch.equal(batch[0, :1], rows[2])
    assert torch.equal(batch[1, :4], rows[1])
    assert batch[0, 1:].count_nonzero() + batch[1, 4:].count_nonzero() == 0


@pytest.mark.parametrize("limit", [0, 1 << 20], ids=["file", "memory"])
def test_images_keep_their_shape(limit: int) -> None:
    images = torch.randn(4, 2, 3, 3)
    writer = StatesWriter(np.ones(4, dtype=np.int64), Room(limit), torch.float16)
    writer.append(np.array([3, 1]), images[[3, 1]])
    writer.append(np.array([0, 2]), images[[0, 2]])
    batch = writer.finish().gather(np.array([1, 2]), tokens=None)
    assert batch.dtype == torch.float32
    assert torch.equal(batch, images[[1, 2]].half().float())


def test_memory_is_used_up_to_the_limit_only() -> None:
    needed = 8 * WIDTH * 4  # seven tokens and the padding, in float32
    room = Room(2 * needed)
    spilled = [_written(room)[1].is_spilled for _ in range(3)]
    assert spilled == [False, False, True]
    assert room.used_bytes == 2 * needed


def test_a_file_of_states_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So nothing is left of it, however the process ends."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    writer = StatesWriter(LENGTHS, Room(0), None)
    writer.append(np.array([0, 1, 2]), torch.ones(7, WIDTH))
    assert list(tmp_path.iterdir()) == []
    assert writer.finish().is_spilled


def test_states_beyond_half_precision_are_refused_and_free_their_memory() -> None:
    room = Room(1 << 20)
    writer = StatesWriter(LENGTHS, room, torch.float16)
    writer.append(np.array([0]), torch.ones(2, WIDTH))
    with pytest.raises(OverflowError, match="1e\\+05 is beyond half precision"):
        writer.append(np.array([1]), torch.full((4, WIDTH), 1e5))
    assert room.used_bytes == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_disk_is_an_error_that_can_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "wb"))  # noqa: SIM115, PTH123
    with pytest.raises(OSError, match="No space left"):
        _written(Room(0))
