"""The summary: what there is, and where the time went."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import pytest

from metaft.finetuning.outcome import Costs
from metaft.traces.summary import summarise

if TYPE_CHECKING:
    from tests.traces.conftest import TraceFactory


def test_traces_are_counted_by_backbone_kind_and_size(make_trace: TraceFactory) -> None:
    traces = [
        make_trace("a"),
        make_trace("b", task="other", status="diverged"),
        make_trace("c", train_rows=12),
        make_trace("d", backbone="another"),
    ]
    rows, _ = summarise(traces)
    facts = [(row.backbone, row.train_rows, row.tasks, row.traces) for row in rows]
    assert facts == [("another", 48, 1, 1), ("tiny-bert", 12, 1, 1), ("tiny-bert", 48, 2, 2)]
    assert rows[2].statuses == {"ok": 1, "diverged": 1}


def test_shares_of_time(make_trace: TraceFactory) -> None:
    """Each takes 2.5 s, two of them training and two quarters scoring, and 0.5 s of overhead.

    The first two shared a prefix, of which the second needed half.
    """
    traces = [
        make_trace("a", prefix_seconds=0.5),
        make_trace("b", prefix_seconds=0.25),
        make_trace("c", prefix_seconds=0.75, seed=1),
        make_trace("d", prefix_seconds=None, seed=2),
    ]
    _, shares = summarise(traces)
    whole = 4 * 3.0 + 0.5 + 0.75
    assert dataclasses.astuple(shares) == pytest.approx(
        (whole / 4, 8 / whole, 2 / whole, 1.25 / whole, 0.0, 2 / whole)
    )


def test_a_run_without_a_known_time_counts_as_none(make_trace: TraceFactory) -> None:
    unknown = make_trace("b", costs=Costs(math.nan, math.nan, None, math.nan), curve=())
    _, shares = summarise([make_trace("a"), unknown])
    assert shares.seconds_per_trace == pytest.approx((3.0 + 0.5 + 0.25) / 2)


def test_no_traces_have_no_time() -> None:
    rows, shares = summarise([])
    assert rows == []
    assert math.isnan(shares.seconds_per_trace)
