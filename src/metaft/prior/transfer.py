"""Transfer: what a prior is worth where it is asked for what was never recorded.

All blocks of one backbone, of about one size, or of one sort are hidden; models of the others,
and of other tasks, are asked about them. So a prior recorded at 512 rows is asked for 2,048, one
of MiniLM for GTE, and one of classes for tags.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metaft.prior.calibration import choosable, conformal_half_width, relative_error
from metaft.prior.comparisons import compare_slices
from metaft.prior.described import Described
from metaft.prior.judging import judge_methods
from metaft.prior.leaving_out import LeftOut, OnFit, count_hidden_fits, leave_out_hidden
from metaft.prior.rivals import METHODS
from metaft.prior.table import TraceTable

FEWEST_TASKS = 5
"""Of a backbone or size that is hidden; fewer tell nothing."""

_METHODS = ("learned", "plain", "best-average-of-all", "random-8")


@dataclass(frozen=True, eq=False)
class Hidden:
    """What is hidden from the models: one backbone, one size, or one sort.

    Attributes:
        asked: What it is called.
        rows: Numbers of its blocks.
        is_level_known: Whether models are asked how high scores are there. Of a sort never
            recorded that is not known, so a suggestion does not say it.
    """

    asked: str
    rows: tuple[int, ...]
    is_level_known: bool = True


def hidden_of(table: TraceTable) -> list[Hidden]:
    """Return what can be hidden: each backbone, size and sort of several with enough tasks."""
    sorts = _hidden_by(table, _sort_of)
    return [
        *_hidden_by(table, _backbone_of),
        *_hidden_by(table, _size_of),
        *(dataclasses.replace(hidden, is_level_known=False) for hidden in sorts),
    ]


def judge_transfer(
    table: TraceTable,
    rows: Sequence[Described],
    relatives: Mapping[str, frozenset[str]],
    left_out: Sequence[LeftOut],
    *,
    on_fit: OnFit | None = None,
) -> dict[str, Any]:
    """Hide every backbone, size and sort in turn.

    Args:
        table: All blocks.
        rows: Their descriptions, in the same order.
        relatives: Task -> its relatives.
        left_out: From `leave_each_out`.
        on_fit: Called after every fit, `count_transfer_fits` times at most.

    Returns:
        `hidden`, what each method is worth there and the tests of `compare_slices`, by what
        was hidden; and `relative_width`, as of `Calibration`, that holds 90 % of the scores
        there; NaN where nothing could be hidden.
    """
    figures, all_judged, errors, tasks = [], [], [], []
    for hidden in hidden_of(table):
        seen = leave_out_hidden(table, rows, relatives, left_out, hidden.rows, on_fit=on_fit)
        seen = [left for left in seen if choosable(table, left.row, left.outlook).any()]
        if hidden.is_level_known:
            known = _sorts_without(table, hidden)
            seen = [left for left in seen if table.blocks[left.row].sort in known]
        else:
            seen = [_untrusting(left) for left in seen]
        if not seen:
            continue
        own = [_relative_error(table, left) for left in seen]
        if hidden.is_level_known:
            errors += own
            tasks += [table.blocks[left.row].task for left in seen]
        judged = judge_methods(table, seen, {name: METHODS[name] for name in _METHODS})
        all_judged.append(judged)
        figures.append(
            {
                "asked": hidden.asked,
                "tasks": len(set(judged.tasks)),
                "methods": judged.means(),
                "coverage": _coverage(seen, own) if hidden.is_level_known else math.nan,
            }
        )
    tests = compare_slices(all_judged)
    figures = [part | {"learned - average": t} for part, t in zip(figures, tests, strict=True)]
    width = conformal_half_width(np.array(errors), tasks) if errors else math.nan
    return {"hidden": figures, "relative_width": width}


def count_transfer_fits(table: TraceTable, relatives: Mapping[str, frozenset[str]]) -> int:
    """Return how many fits `judge_transfer` makes at most, for a progress bar."""
    return len(hidden_of(table)) * count_hidden_fits(table.tasks, relatives)


def _hidden_by(table: TraceTable, key: Callable[[Any], tuple[str, object]]) -> Iterator[Hidden]:
    by_value: dict[tuple[str, object], list[int]] = {}
    for at, block in enumerate(table.blocks):
        by_value.setdefault(key(block), []).append(at)
    for (name, _), rows in sorted(by_value.items(), key=lambda item: repr(item[0])):
        tasks = {table.blocks[at].task for at in rows}
        if len(by_value) > 1 and len(tasks) >= FEWEST_TASKS:
            yield Hidden(name, tuple(rows))


def _sort_of(block: Any) -> tuple[str, object]:
    return block.sort, block.sort


def _backbone_of(block: Any) -> tuple[str, object]:
    return block.backbone.rpartition("/")[2], block.backbone


def _size_of(block: Any) -> tuple[str, object]:
    octave = round(math.log2(block.train_rows))
    return f"about {2**octave:,} rows", octave


def _untrusting(left: LeftOut) -> LeftOut:
    """Return the same with what is pooled alone, as a sort never recorded is answered."""
    return dataclasses.replace(left, calibration=dataclasses.replace(left.calibration, weight=0.0))


def _sorts_without(table: TraceTable, hidden: Hidden) -> set[str]:
    """Return the sorts that are recorded elsewhere, too."""
    gone = set(hidden.rows)
    return {block.sort for at, block in enumerate(table.blocks) if at not in gone}


def _coverage(seen: Sequence[LeftOut], errors: Sequence[float]) -> float:
    """Return the share of the blocks that the usual interval holds."""
    widths = [left.calibration.relative_width for left in seen]
    return float(np.mean([e <= width for e, width in zip(errors, widths, strict=True)]))


def _relative_error(table: TraceTable, left: LeftOut) -> float:
    weight = left.calibration.weight_at(left.outlook.distance)
    return relative_error(table, left.row, left.outlook, weight)
