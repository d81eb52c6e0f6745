from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from metaft.comparing.choice import Choice
from metaft.comparing.methods import Method, parse_methods
from metaft.comparing.protocol import ComparisonPlan, plan_comparison
from metaft.errors import PriorError, UserError
from metaft.recipes import STEADY

if TYPE_CHECKING:
    from metaft.tasks.task import Task

TASK = "uci_sentences_yelp"


def _plan(backbone: str, tasks: list[str] | None = None, **settings: Any) -> ComparisonPlan:
    wanted = {"seeds": 2, "train_rows": 16} | settings
    methods = parse_methods("plain,steady")
    return plan_comparison(tasks or [TASK], methods, backbone=backbone, **wanted)


def test_plan_is_tasks_by_seeds_by_methods(backbone_folder: str) -> None:
    plan = _plan(backbone_folder, [TASK, "sms_spam"])
    runs = [(run.seed, run.task, run.recipe.learning_rate) for run in plan.runs]
    assert runs == [
        (seed, task, rate)
        for seed in (0, 1)
        for task in (TASK, "sms_spam")
        for rate in (5e-5, 1e-4)
    ]
    assert all(run.recipe.seed == run.seed for run in plan.runs)
    assert plan.tasks[0].rows.train == 16
    assert not plan.tasks[0].is_seen


def test_methods_see_the_rows_that_there_are(backbone_folder: str) -> None:
    asked = []

    def choose(task: Task, backbone: str, train_rows: int) -> Choice:
        asked.append((task.name, backbone, train_rows))
        return Choice(STEADY)

    methods = [Method("one", choose), Method("two", choose)]
    plan = plan_comparison([TASK], methods, seeds=3, train_rows=10**6, backbone=backbone_folder)
    rows = plan.tasks[0].rows.train
    assert asked == [(TASK, backbone_folder, rows)] * 2  # once per task, not per seed
    assert 16 < rows < 10**6


def test_what_cannot_be_compared_is_left_out_with_a_reason(backbone_folder: str) -> None:
    told = []
    plan = _plan(backbone_folder, [TASK, "optdigits", "no_such_task"], on_task=told.append)
    assert [task.name for task in plan.tasks] == [TASK]
    assert "takes text" in plan.left_out["optdigits"]
    assert "no_such_task" in plan.left_out["no_such_task"]
    assert told == [TASK, "optdigits", "no_such_task"]


def test_method_without_a_fitting_prior_leaves_the_task_out(backbone_folder: str) -> None:
    def choose(task: Task, backbone: str, train_rows: int) -> Choice:
        raise PriorError("no prior for images ships with metaft")

    methods = [*parse_methods("plain,steady"), Method("learned", choose)]
    with pytest.raises(UserError, match=f"no task can be compared; {TASK}: no prior for images"):
        plan_comparison([TASK], methods, seeds=1, train_rows=16, backbone=backbone_folder)
