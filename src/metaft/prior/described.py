"""Described: the features of one task at one size on one backbone, and tables of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metaft.errors import PriorError
from metaft.features.extract import FEATURES
from metaft.features.trial import TRIAL_COSTS, TRIAL_FEATURES
from metaft.prior.table import Block
from metaft.tasks.task import sort_of

if TYPE_CHECKING:
    import pandas

    from metaft.tasks.task import Kind, Metric


@dataclass(frozen=True, eq=False)
class Described:
    """The features of one task at one size on one backbone.

    Attributes:
        task: Name of the task, or the path it was read from.
        fingerprint: Of the task as it was loaded.
        kind: What is predicted from what.
        metric: The primary metric.
        backbone: Identity of the backbone.
        train_rows: Training rows that a run uses.
        values: Feature -> value, NaN where unknown; those of a trial where it was probed.
    """

    task: str
    fingerprint: str
    kind: Kind
    metric: Metric
    backbone: str
    train_rows: int
    values: Mapping[str, float]

    @property
    def block(self) -> Block:
        """Return what it describes."""
        return Block(self.task, self.backbone, self.train_rows, sort_of(self.kind))

    @property
    def is_probed(self) -> bool:
        """Whether trial steps were taken, and told something."""
        return any(not math.isnan(self.values.get(name, math.nan)) for name in TRIAL_FEATURES)

    def without_trial(self) -> Described:
        """Return the same without what trial steps told."""
        told = {name: value for name, value in self.values.items() if name not in _OF_TRIAL}
        return dataclasses.replace(self, values=told)

    def with_rows(self, train_rows: int) -> Described:
        """Return the same task with other training rows; what was measured stays."""
        return dataclasses.replace(self, train_rows=train_rows)

    def vector(self, names: Sequence[str]) -> np.ndarray:
        """Return some features `(names,)`, NaN where one is unknown."""
        return np.array([self.values.get(name, np.nan) for name in names], dtype=np.float64)


_OF_TRIAL = (*TRIAL_FEATURES, *TRIAL_COSTS)
_KEYS = tuple(f.name for f in dataclasses.fields(Described) if f.name != "values")


def frame_from_described(rows: Iterable[Described]) -> pandas.DataFrame:
    """Lay descriptions out as a table: the keys, then one column per feature.

    What trial steps told has columns only where some row was probed.
    """
    import pandas

    rows = list(rows)
    trial = _OF_TRIAL if any(row.is_probed for row in rows) else ()
    cells = [{**{key: getattr(row, key) for key in _KEYS}, **row.values} for row in rows]
    return pandas.DataFrame(cells, columns=[*_KEYS, *FEATURES, *trial])


def described_from_frame(frame: pandas.DataFrame) -> list[Described]:
    """Rebuild descriptions from the table that `frame_from_described` gave.

    Raises:
        PriorError: If a key column is missing.
    """
    missing = [key for key in _KEYS if key not in frame.columns]
    if missing:
        raise PriorError(
            f"the table of features has no column {missing[0]!r}",
            "Give a features.parquet that metaft prior fit wrote",
        )
    names = [name for name in frame.columns if name not in _KEYS]
    return [
        Described(
            **{key: row[key] for key in _KEYS},
            values={name: float(row[name]) for name in names},
        )
        for row in frame.to_dict("records")
    ]


def feature_names(rows: Iterable[Described]) -> tuple[str, ...]:
    """Return the features that models of some rows go by: a trial's only where one was probed."""
    return (*FEATURES, *TRIAL_FEATURES) if any(row.is_probed for row in rows) else FEATURES


def describe_blocks(blocks: Sequence[Block], rows: Iterable[Described]) -> list[Described]:
    """Return the description of each block, in the order of the blocks.

    Raises:
        PriorError: If a block is not described.
    """
    known = {row.block: row for row in rows}
    for block in blocks:
        if block not in known:
            raise PriorError(
                f"there are traces of {block.task!r} on {block.backbone!r} with {block.train_rows} "
                "training rows, but no features of it",
                "Fit the prior again: metaft prior fit --store URL --out DIR",
            )
    return [known[block] for block in blocks]
