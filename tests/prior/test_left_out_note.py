from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest

from metaft.prior.left_out_note import note_left_out


def _compared(mean: float, p_value: float | None, *, is_no_worse: bool) -> dict:
    points = {"mean": mean, "t_test_p_holm": p_value, "wilcoxon_p_holm": 0.001}
    return {"points": points, "no_worse": {"is_shown": is_no_worse}}


@pytest.fixture
def validation() -> dict:
    figures = {"points": 70.0, "relative_seconds": 1.84}
    return {
        "sort": "classes",
        "tasks": 42,
        "methods": {
            "learned": figures,
            "learned-cost": figures | {"relative_seconds": 0.42},
            "best-average": figures,
            "best-average-of-all": figures | {"points": 71.0},
        },
        "comparisons": {
            "learned - plain": _compared(2.8, 0.024, is_no_worse=True),
            "learned - best-average": _compared(0.9, 0.01, is_no_worse=True),
            "learned - best-average-of-all": _compared(-0.04, 1.0, is_no_worse=False),
            "learned-cost - plain": _compared(0.9, 0.2, is_no_worse=True),
        },
    }


def test_the_better_average_is_what_counts(validation) -> None:
    note = note_left_out(validation, "classes", "score")
    assert note is not None
    assert note.said == (
        "on its 42 tasks, each left out, the prior gained +2.8 points (p = .024) on plain in 1.8 "
        "times the time, and +0.0 points (p = 1.000) on the recipe that is best on average, so not "
        "shown to beat that one fixed recipe"
    )


def test_a_gain_on_the_average_is_said_without_a_doubt(validation) -> None:
    validation["methods"]["best-average"] = {"points": 72.0}
    note = note_left_out(validation, "classes", "score")
    assert note is not None
    assert note.said.endswith("+0.9 points (p = .010) on the recipe that is best on average")


@pytest.mark.parametrize(("is_shown", "said"), [(True, "; shown"), (False, "; not shown")])
def test_what_is_cheap_is_to_be_no_worse(validation, is_shown: bool, said: str) -> None:
    validation["comparisons"]["learned-cost - plain"]["no_worse"]["is_shown"] = is_shown
    note = note_left_out(validation, "classes", "cost")
    assert note is not None
    assert f"in 0.4 times the time{said} to be no worse, to within 0.3 points" in note.said
    assert note.on_average is None


def test_too_few_tasks_are_no_proof(validation) -> None:
    validation["comparisons"]["learned - plain"] = _compared(2.8, None, is_no_worse=False)
    note = note_left_out(validation, "classes", "score")
    assert note is not None
    assert math.isnan(note.on_plain.p_value)
    assert not note.on_plain.is_shown
    assert "+2.8 points (too few to test) on plain" in note.said


def test_nothing_is_said_of_other_sorts_or_without_a_validation(validation) -> None:
    assert note_left_out(validation, "tags", "score") is None
    assert note_left_out(validation | {"comparisons": {}}, "classes", "score") is None


def test_a_real_validation_can_be_read(own_prior: Path) -> None:
    validation = json.loads((own_prior / "prior.json").read_text())["validation"]
    before = copy.deepcopy(validation)
    for goal, own in (("score", "learned"), ("cost", "learned-cost")):
        note = note_left_out(validation, "classes", goal)
        assert note is not None
        mean = validation["comparisons"][f"{own} - plain"]["points"]["mean"]
        assert note.on_plain.points == mean
        assert json.loads(json.dumps(note.to_mapping()))["said"] == note.said
    assert validation == before
