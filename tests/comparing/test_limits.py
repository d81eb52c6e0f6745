from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from metaft.comparing.report import build_report
from metaft.significance import detectable_effect

if TYPE_CHECKING:
    from tests.comparing.conftest import Comparison


def test_power_is_told_in_points(comparison: Comparison) -> None:
    gains = [0.04, 0.02, 0.06, 0.00, 0.05, 0.01]  # deviation 2.366 points
    scores = {f"t{at}": {"plain": [0.7], "learned": [0.7 + g]} for at, g in enumerate(gains)}
    report = build_report(*comparison(scores))
    (judgement,) = report.judgements
    assert judgement.detectable_points == pytest.approx(detectable_effect(6) * 2.366, abs=1e-2)
    assert f"in points that is {judgement.detectable_points:.1f} for learned" in report.limits[0]


def test_limits_name_rows_seeds_and_what_the_prior_knew(comparison: Comparison) -> None:
    scores = {name: {"plain": [0.7, 0.7], "learned": [0.8, 0.8]} for name in ("mail", "news")}
    plan, traces = comparison(scores, seen=["news"])
    for task in plan.tasks:
        task.choices["learned"] = dataclasses.replace(task.choices["learned"], prior="v0 0.1.0")
    told = " ".join(build_report(plan, traces).limits)
    assert "The prior knew news or relatives" in told
    assert "tiny-bert on 64 training rows" in told
    assert "seeds (2 per dataset)" in told
    assert "60 test rows. An accuracy of 80 % over 60 rows is known to 5.2 points" in told


def test_nothing_is_said_of_a_prior_that_nobody_asked(comparison: Comparison) -> None:
    report = build_report(*comparison({"mail": {"plain": [0.7], "steady": [0.8]}}))
    assert "prior" not in " ".join(report.limits)
    assert report.machines == ("made up, 1 thread, torch 2.15.0",)


@pytest.mark.filterwarnings("error")
def test_no_unseen_task_leaves_few_limits(comparison: Comparison) -> None:
    scores = {"mail": {"plain": [0.7], "learned": [0.8]}}
    assert build_report(*comparison(scores, seen=["mail"])).limits == ()
