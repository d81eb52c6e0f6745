"""Planning: what is to be recorded, what is the same run, and what shares a worker."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from metaft.recipes import design
from metaft.traces.plan import (
    BackboneFacts,
    RunGroup,
    TaskFacts,
    group_runs,
    key_runs,
    plan_runs,
    problems_of,
)
from metaft.traces.trace import PlannedRun

_RECIPES = design(3, 1)
_BACKBONES = {"bert": BackboneFacts("bbbb", "text")}
_TASKS = {
    "large": TaskFacts("1111", 5000, "text"),
    "small": TaskFacts("2222", 100, "text"),
    "image": TaskFacts("3333", 5000, "image"),
    "gone": TaskFacts(problem="it is gone."),
}


def _plan(*tasks: str, sizes: tuple[int, ...] = (64,), seeds: int = 1) -> list[PlannedRun]:
    return plan_runs(tasks, "bert", _RECIPES, sizes=sizes, seeds=seeds)


def test_every_recipe_is_planned_on_every_task_size_and_seed() -> None:
    runs = _plan("large", "small", sizes=(64, 512), seeds=2)
    assert len(set(runs)) == len(runs) == 2 * 3 * 2 * 2
    assert {run.recipe.seed for run in runs} == {0, 1}
    assert [run.train_rows for run in runs[:6]] == [64] * 6  # all tasks, then the next size


def test_a_small_task_is_recorded_once_with_what_it_has() -> None:
    keyed = key_runs(_plan("small", sizes=(64, 512, 2048)), _TASKS, _BACKBONES)
    assert sorted(run.train_rows for run in keyed.values()) == [64] * 3 + [100] * 3


def test_problems_are_told_apart() -> None:
    problems = problems_of(_plan("large", "image", "gone"), _TASKS, _BACKBONES)
    assert problems == {
        "image": "it is a task of images, and bert takes texts.",
        "gone": "it is gone.",
    }


def test_runs_that_share_rows_share_a_group() -> None:
    runs = _plan("large", "small", sizes=(16, 32), seeds=2)
    groups = group_runs(key_runs(runs, _TASKS, _BACKBONES), workers=2)
    assert [(group.task, group.train_rows, group.seed) for group in groups[:3]] == [
        ("large", 16, 0),
        ("small", 16, 0),
        ("large", 32, 0),
    ]
    assert len(groups) == 8


@given(workers=st.integers(1, 12), tasks=st.sets(st.sampled_from(["large", "small"])))
def test_groups_are_split_until_no_worker_stands_idle(workers: int, tasks: set[str]) -> None:
    keyed = key_runs(_plan(*sorted(tasks)), _TASKS, _BACKBONES)
    groups = group_runs(keyed, workers)
    assert len(groups) == max(len(tasks), min(workers, len(keyed)))
    assert _merged(groups) == keyed


def _merged(groups: list[RunGroup]) -> dict[str, PlannedRun]:
    return {key: run for group in groups for key, run in group.runs.items()}
