"""Evidence: what comparisons leave in a prior's folder, by size of the runs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from metaft.errors import PriorError
from metaft.files import written_beside

EVIDENCE_SCHEMA = 1

_SIZE_TOLERANCE = 1.0  # log2 of the ratio of two sizes that count as alike


class _Sized(Protocol):
    @property
    def train_rows(self) -> float:
        """Training rows of the runs."""


_Found = TypeVar("_Found")
_Size = TypeVar("_Size", bound=_Sized)


def save_evidence(evidence: Any, path: Path) -> None:
    """Write a dataclass of evidence, whole or not at all."""
    values = {"schema": EVIDENCE_SCHEMA, **dataclasses.asdict(evidence)}
    with written_beside(path) as beside:
        beside.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")


def read_evidence(
    path: Path, build: Callable[[dict[str, Any]], _Found], how_to_write: str
) -> _Found | None:
    """Read what `save_evidence` wrote; None where there is nothing.

    Args:
        path: The file.
        build: Makes the dataclass of its values.
        how_to_write: What writes the file anew.

    Raises:
        PriorError: If the file is broken or of another schema.
    """
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("schema") != EVIDENCE_SCHEMA:
            raise ValueError(f"its schema is not {EVIDENCE_SCHEMA}")
        return build(values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PriorError(
            f"{path} cannot be read: {error}", f"Delete it, or write it anew: {how_to_write}"
        ) from error


def nearest_size(sizes: Iterable[_Size], train_rows: int) -> _Size | None:
    """Return what was found at the size most alike, None where none is alike."""
    nearest = min(sizes, key=lambda size: _distance(size, train_rows), default=None)
    if nearest is None or _distance(nearest, train_rows) > _SIZE_TOLERANCE:
        return None
    return nearest


def _distance(size: _Sized, train_rows: int) -> float:
    return abs(math.log2(size.train_rows / train_rows))
