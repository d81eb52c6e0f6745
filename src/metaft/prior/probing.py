"""Probing: what trial steps are worth to a prior, beside the same prior without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metaft.prior.described import Described
from metaft.prior.judging import judge_methods
from metaft.prior.leaving_out import OnFit, calibration_figures, count_fits, leave_each_out
from metaft.prior.rivals import METHODS
from metaft.prior.table import TraceTable
from metaft.prior.validate import count_validation_fits


def judge_probe(
    table: TraceTable,
    rows: Sequence[Described],
    relatives: Mapping[str, frozenset[str]],
    *,
    on_fit: OnFit | None = None,
) -> dict[str, Any]:
    """Leave every task out of models that know what trial steps told.

    Args:
        table: All blocks.
        rows: Their descriptions, with trial steps.
        relatives: Task -> its relatives.
        on_fit: Called after every fit.

    Returns:
        How far these models are trusted, and what they chose; without trial steps the same is
        said by the calibration and the validation of the prior.
    """
    left_out = leave_each_out(table, rows, relatives, on_fit=on_fit)
    methods = {name: METHODS[name] for name in ("learned", "surrogate")}
    return {
        **calibration_figures(table, left_out),
        "methods": judge_methods(table, left_out, methods).means(),
        "weights_in_folds": [left.calibration.weight for left in left_out],
    }


def count_fits_of_check(
    table: TraceTable, relatives: Mapping[str, frozenset[str]], *, is_probed: bool
) -> int:
    """Return how many fits it takes to judge a prior, and its probe where it has one."""
    fits = count_validation_fits(table, relatives)
    return fits + count_fits(table.tasks, relatives) if is_probed else fits
