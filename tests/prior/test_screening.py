from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from metaft.errors import PriorError
from metaft.prior import screening as screening_module
from metaft.prior.manifest import finite
from metaft.prior.screened import Screening
from metaft.prior.screening import find_pairs, screen, traces_of
from metaft.recipes import HALF_FROZEN as BASE

LEVELS = 4


@pytest.fixture(autouse=True)
def _few_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat the stored control seldom: all but one of the tests do not look at it."""
    monkeypatch.setattr(screening_module, "CONTROLS", 2)


def _screen(traces) -> Screening:
    return screen(find_pairs(traces, "text"))


def _effect(found: Screening, field: str):
    return next(level for level in found.levels if level.field == field)


def test_a_level_that_helps_is_adopted(make_screening) -> None:
    found = _screen(make_screening(gains={"label_smoothing": 1.5}))
    assert found.adopted is not None
    assert (found.adopted.field, found.adopted.value) == ("label_smoothing", 0.1)
    assert found.adopted is found.best
    assert found.adopted.points == pytest.approx(1.5, abs=0.4)
    assert found.adopted.win_tie_loss[0] >= 18
    assert found.base == BASE
    assert found.train_rows == (512,)
    assert len(found.tasks) == 20
    assert found.traces == 20 * (1 + LEVELS)
    assert len(found.levels) == LEVELS


def test_the_control_adopts_as_seldom_as_the_level_of_the_tests_says(make_screening) -> None:
    """Whole sets of traces in which base and level were confused on half of the tasks."""
    gains = dict.fromkeys(("label_smoothing", "freezing", "augmentation"), 1.5)
    worlds = [make_screening(gains=gains, exchanged=True, seed=seed) for seed in range(12)]
    found = [_screen(traces) for traces in worlds]
    assert sum(one.adopted is not None for one in found) <= 1  # 5 % two-sided, so 2.5 % gains


def test_the_stored_control(make_screening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screening_module, "CONTROLS", 100)
    found = _screen(make_screening(gains={"label_smoothing": 1.5, "freezing": 3.0}))
    assert found.adopted is not None
    assert found.control_adopted <= 6
    assert found.to_mapping()["controls"] == 100


def test_noise_alone_is_not_adopted(make_screening) -> None:
    found = [_screen(make_screening(seed=seed)) for seed in range(8)]
    assert not any(one.adopted for one in found)


def test_of_several_fields_the_best_single_one_is_adopted(make_screening) -> None:
    found = _screen(make_screening(gains={"label_smoothing": 1.5, "freezing": 3.0}))
    assert sum(level.is_gain for level in found.levels) == 2
    assert found.adopted is not None
    assert found.adopted.field == "freezing"


def test_a_gain_must_be_large_enough(make_screening) -> None:
    found = _screen(make_screening(gains={"schedule": 0.2}, noise_points=0.02))
    small = _effect(found, "schedule")
    assert max(small.t_test_p_holm, small.wilcoxon_p_holm) < 0.05
    assert 0 < small.points < 0.3
    assert found.adopted is None


def test_validation_rows_must_agree(make_screening) -> None:
    found = _screen(make_screening(gains={"schedule": 1.5}, validation_gain=-1.0))
    assert _effect(found, "schedule").points > 1
    assert _effect(found, "schedule").validation_points < 0
    assert found.adopted is None


def test_both_tests_must_agree(make_screening) -> None:
    level = _screen(make_screening(gains={"schedule": 1.5})).best
    assert level.is_gain
    assert not dataclasses.replace(level, t_test_p_holm=0.06).is_gain
    assert not dataclasses.replace(level, wilcoxon_p_holm=0.05).is_gain


def test_p_values_are_corrected_over_all_levels(make_screening) -> None:
    found = _screen(make_screening(gains={"schedule": 0.6}))
    best = _effect(found, "schedule")
    assert best.t_test_p_holm == pytest.approx(LEVELS * best.t_test_p)
    assert best.wilcoxon_p_holm == pytest.approx(LEVELS * best.wilcoxon_p)


def test_six_tasks_prove_nothing(make_screening) -> None:
    """Wilcoxon's p is 2 / 2^6 at least, and there are several levels."""
    found = _screen(make_screening(tasks=6, gains={"schedule": 3.0}))
    assert found.best.wilcoxon_p == pytest.approx(1 / 32)
    assert found.adopted is None


def test_a_failed_run_counts_as_what_it_had_by_then(make_screening) -> None:
    traces = [
        dataclasses.replace(t, status="diverged", curve=t.curve[:1])
        if t.recipe.schedule == "cosine"
        else t
        for t in make_screening(gains={"schedule": 1.5})
    ]
    worse = _effect(_screen(traces), "schedule")
    assert worse.failed == 1
    assert worse.points < 1
    assert worse.tasks == 20
    assert math.isnan(worse.time_ratio)


def test_a_run_without_its_base_tells_nothing(make_screening) -> None:
    traces = make_screening(tasks=8)
    lonely = [t for t in traces if t.task != "task00" or t.recipe.label_smoothing]
    found = _screen(lonely)
    assert "task00" not in found.tasks
    assert {level.tasks for level in found.levels} == {7}


@pytest.mark.parametrize("field", ["seed", "train_rows", "backbone_fingerprint"])
def test_the_base_is_of_the_same_rows_seed_and_backbone(make_screening, field: str) -> None:
    other = "c" * 16 if field == "backbone_fingerprint" else 7
    traces = [
        t if t.recipe.schedule == "constant" else dataclasses.replace(t, **{field: other})
        for t in make_screening(tasks=6)
    ]
    assert "schedule" not in {level.field for level in _screen(traces).levels}


def test_two_changed_fields_are_no_level(make_screening) -> None:
    traces = make_screening(tasks=6)
    both = [
        dataclasses.replace(
            t, recipe=dataclasses.replace(t.recipe, learning_rate=1e-3), trace_id=t.trace_id + "x"
        )
        for t in traces
        if t.recipe.label_smoothing
    ]
    found = find_pairs([*traces, *both], "text")
    assert {pair.varied.recipe.learning_rate for pair in found} == {BASE.learning_rate}


def test_the_base_that_most_runs_vary_counts(make_screening) -> None:
    ours = make_screening(tasks=6)
    other = dataclasses.replace(BASE, learning_rate=1e-5)
    others = make_screening(tasks=6, base=other)[: 2 * (1 + LEVELS)]
    assert {pair.base.recipe for pair in find_pairs([*others, *ours], "text")} == {BASE}


def test_a_task_with_two_sizes_counts_once(make_screening) -> None:
    small = make_screening(tasks=6, rows=128)
    found = _screen([*make_screening(tasks=6), *small])
    assert {level.tasks for level in found.levels} == {6}
    assert found.train_rows == (128, 512)


def test_no_pair_is_an_error(make_screening) -> None:
    traces = make_screening(tasks=2)
    with pytest.raises(PriorError, match="no run beside its base"):
        find_pairs(traces, "image")
    with pytest.raises(PriorError, match="no run beside its base"):
        find_pairs([t for t in traces if t.recipe == BASE], "text")


def test_runs_without_test_scores_are_an_error(make_screening) -> None:
    blind = [
        dataclasses.replace(
            t,
            test={},
            curve=tuple(dataclasses.replace(r, test={}, test_halves=()) for r in t.curve),
        )
        for t in make_screening(tasks=2)
    ]
    with pytest.raises(PriorError, match="scored on test rows"):
        screen(find_pairs(blind, "text"))


def test_every_run_is_kept_once(make_screening) -> None:
    traces = make_screening(tasks=3)
    kept = traces_of(find_pairs(traces, "text"))
    assert sorted(t.trace_id for t in kept) == sorted(t.trace_id for t in traces)


def test_there_and_back_through_json(make_screening) -> None:
    found = _screen(make_screening(tasks=6))
    first = dataclasses.replace(found.levels[0], time_ratio=math.nan)
    found = dataclasses.replace(found, levels=(first, *found.levels[1:]))
    stored = json.loads(json.dumps(finite(found.to_mapping()), allow_nan=False))
    back = Screening.from_mapping(stored)
    assert math.isnan(back.levels[0].time_ratio)
    assert back.levels[1:] == found.levels[1:]
    assert finite(back.to_mapping()) == finite(found.to_mapping())


def test_levels_without_validation_scores_come_back_and_are_no_gain(make_screening) -> None:
    traces = [
        dataclasses.replace(
            trace,
            curve=tuple(dataclasses.replace(record, validation={}) for record in trace.curve),
        )
        for trace in make_screening(gains={"label_smoothing": 1.5})
    ]
    found = _screen(traces)
    stored = json.loads(json.dumps(finite(found.to_mapping()), allow_nan=False))
    back = Screening.from_mapping(stored)
    assert math.isnan(back.levels[0].validation_points)
    assert back.adopted is None


@pytest.mark.parametrize("broken", [{"schema": 2}, {"levels": [{}]}, {"base": {"rate": 1}}])
def test_what_cannot_be_read_is_said(make_screening, broken) -> None:
    stored = finite(_screen(make_screening(tasks=6)).to_mapping()) | broken
    with pytest.raises(PriorError, match="screening cannot be read"):
        Screening.from_mapping(stored)


def test_time_is_that_of_whole_runs(make_screening) -> None:
    found = _screen(make_screening(tasks=6))
    assert _effect(found, "augmentation").time_ratio == pytest.approx(2.0, rel=0.1)
    assert _effect(found, "schedule").time_ratio == pytest.approx(1.0, rel=0.1)
    assert np.isfinite([level.time_ratio for level in found.levels]).all()
