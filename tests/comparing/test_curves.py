from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from metaft.comparing.curves import gather_curves

if TYPE_CHECKING:
    from tests.comparing.conftest import Comparison


def test_curve_is_the_mean_over_seeds_with_its_range(comparison: Comparison) -> None:
    plan, traces = comparison({"mail": {"plain": [0.7, 0.8], "steady": [0.9, 0.9]}})
    (mail,) = gather_curves(plan, traces)
    plain = mail.methods[0]
    assert (plain.method, plain.seeds) == ("plain", 2)
    assert plain.epochs.tolist() == [1, 2]
    assert plain.mean.tolist() == pytest.approx([0.65, 0.75])
    assert plain.low.tolist() == pytest.approx([0.6, 0.7])
    assert plain.high.tolist() == pytest.approx([0.7, 0.8])
    assert plain.seconds.tolist() == pytest.approx([4.4, 8.8])


def test_score_that_counts_is_where_validation_stopped(comparison: Comparison) -> None:
    plan, traces = comparison({"mail": {"plain": [0.7, 0.8], "steady": [0.9, 0.9]}})
    first = traces["mail/plain/0"]
    traces["mail/plain/0"] = dataclasses.replace(first, best_epoch=1, test=first.curve[0].test)
    (mail,) = gather_curves(plan, traces)
    plain = mail.methods[0]
    assert plain.chosen_epoch == 1.5
    assert plain.chosen_seconds == pytest.approx((4.4 + 8.8) / 2)
    assert plain.chosen_score == pytest.approx((0.6 + 0.8) / 2)


def test_failed_and_missing_runs_are_not_drawn(comparison: Comparison) -> None:
    scores = {"mail": {"plain": [0.7, 0.8], "steady": ["diverged", "failed"]}}
    plan, traces = comparison(scores, missing=[("mail", "plain", 0)])
    (mail,) = gather_curves(plan, traces)
    assert [(curve.method, curve.seeds) for curve in mail.methods] == [("plain", 1)]


def test_curves_of_unequal_length_are_cut_to_the_shortest(comparison: Comparison) -> None:
    plan, traces = comparison({"mail": {"plain": [0.7, 0.8], "steady": [0.9, 0.9]}})
    stopped = traces["mail/plain/0"]
    traces["mail/plain/0"] = dataclasses.replace(stopped, curve=stopped.curve[:1], best_epoch=1)
    (mail,) = gather_curves(plan, traces)
    assert mail.methods[0].epochs.tolist() == [1]
