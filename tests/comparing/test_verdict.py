from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from metaft.comparing.report import Report, build_report
from metaft.comparing.verdict import outcome_of

if TYPE_CHECKING:
    from tests.comparing.conftest import Comparison

BETTER = [0.04, 0.05, 0.03, 0.06, 0.04, 0.05, 0.07, 0.03]
ALIKE = [0.001, -0.001, 0.001, -0.002, 0.002, 0.001, 0.000, -0.001]
OPEN = [0.05, -0.06, 0.04, -0.03, 0.06, -0.05, 0.02, -0.04]


def _report(comparison: Comparison, seen: Sequence[str] = (), **gains: list[float]) -> Report:
    datasets = len(next(iter(gains.values())))
    scores = {
        f"t{at}": {"plain": [0.7], **{name: [0.7 + gain[at]] for name, gain in gains.items()}}
        for at in range(datasets)
    }
    return build_report(*comparison(scores, seen=seen))


@pytest.mark.parametrize(
    ("gains", "outcome"),
    [
        (BETTER, "better"),
        ([-gain for gain in BETTER], "worse"),
        (ALIKE, "no worse"),
        (OPEN, "open"),
        (BETTER[:5], "no worse"),  # Wilcoxon's test cannot reach .05, though one-sided it can
    ],
)
def test_outcome_needs_both_tests(comparison: Comparison, gains: list[float], outcome: str) -> None:
    (judgement,) = _report(comparison, learned=gains).judgements
    assert outcome_of(judgement) == outcome


def test_one_method_is_told_with_its_numbers(comparison: Comparison) -> None:
    verdict = _report(comparison, learned=BETTER).verdict
    assert verdict.startswith("Over 8 datasets, learned (+4.6 points, 95% interval +3.8 to +5.6, p")
    assert verdict.endswith("p = 0.0078) beats plain.")


def test_many_methods_are_told_by_outcome(comparison: Comparison) -> None:
    worse = [-gain for gain in BETTER]
    report = _report(comparison, bad=worse, a=BETTER, b=[2 * gain for gain in BETTER], c=OPEN)
    assert report.verdict == (
        "Over 8 datasets, a (+4.6 points) and b (+9.2 points) beat plain; "
        "c (-0.1 points) is not shown to differ from plain; bad (-4.6 points) loses to plain."
    )


def test_few_datasets_show_nothing(comparison: Comparison) -> None:
    assert _report(comparison, learned=BETTER[:5]).verdict == (
        "5 datasets are too few to show a difference; on average learned lies 4.4 points above "
        "plain."
    )


def test_more_methods_need_more_datasets(comparison: Comparison) -> None:
    """With six, Wilcoxon's p of .031 is .062 after a correction for two."""
    six, seven = (
        _report(comparison, a=BETTER[:count], b=BETTER[:count]).verdict for count in (6, 7)
    )
    assert six.startswith("6 datasets are too few to show a difference")
    assert seven.startswith("Over 7 datasets, a (+4.9 points")
    assert seven.endswith("beat plain.")


def test_without_an_unseen_task_nothing_is_shown(comparison: Comparison) -> None:
    seen = [f"t{at}" for at in range(8)]
    assert "nothing is shown" in _report(comparison, seen, learned=BETTER).verdict
