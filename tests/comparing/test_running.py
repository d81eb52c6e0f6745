from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from metaft.comparing.choice import Choice
from metaft.comparing.methods import Method, parse_methods
from metaft.comparing.protocol import plan_comparison
from metaft.comparing.report import build_report
from metaft.comparing.results import gather_results
from metaft.comparing.running import run_comparison, traces_of
from metaft.comparing.scoring import seconds_of
from metaft.recipes import PLAIN, Recipe
from metaft.traces.store import TraceStore

if TYPE_CHECKING:
    from metaft.tasks.task import Task

TASK = "uci_sentences_yelp"
RACERS = (Recipe(learning_rate=1e-4, epochs=2), Recipe(learning_rate=5e-2, epochs=2))


@pytest.mark.usefixtures("workers_in_process")
def test_recorded_runs_are_found_by_the_keys_of_the_plan(
    backbone_folder: str, tmp_path: Path
) -> None:
    store = TraceStore(f"sqlite:///{tmp_path / 'traces.db'}")
    plan = plan_comparison(
        [TASK], parse_methods("plain,steady"), seeds=2, train_rows=16, backbone=backbone_folder
    )
    same, summary = run_comparison(plan, store)
    assert same is plan
    assert summary.recorded == 4
    traces = traces_of(plan, store)
    (task,) = plan.tasks
    assert set(traces) == set(task.trace_ids.values())
    for (method, seed), key in task.trace_ids.items():
        assert traces[key].recipe == task.choices[method].recipe.with_settings({"seed": seed})
    report = build_report(plan, traces)
    assert report.tasks[0].seeds == (0, 1)
    assert report.judgements[0].points.pairs == 1


def _race(task: Task, backbone: str, train_rows: int) -> Choice:
    return Choice(RACERS[0], racers=RACERS)


@pytest.mark.usefixtures("workers_in_process")
def test_a_race_runs_first_epochs_and_then_its_winner(backbone_folder: str, tmp_path: Path) -> None:
    store = TraceStore(f"sqlite:///{tmp_path / 'traces.db'}")
    methods = [*parse_methods("plain,half_frozen")[:1], Method("race", _race)]
    planned = plan_comparison([TASK], methods, seeds=1, train_rows=16, backbone=backbone_folder)
    plan, summary = run_comparison(planned, store)
    assert summary.recorded == 2 + 1 + 1  # first epochs, plain, the winner
    assert summary.left == 0
    traces = traces_of(plan, store)
    (task,) = plan.tasks
    winner = traces[task.trace_ids["race", 0]]
    lost = [traces[key] for key in task.given_up["race", 0]]
    assert winner.recipe in RACERS
    assert [trace.recipe.epochs for trace in lost] == [1]
    assert lost[0].recipe.learning_rate != winner.recipe.learning_rate
    ((result,), _) = gather_results(plan, traces, "plain")
    spent = sum(seconds_of(trace, task.rows) for trace in (winner, *lost))
    assert result.of("race").seconds == spent
    again, summary = run_comparison(planned, store)
    assert summary.recorded == 0
    assert again.tasks[0].trace_ids == plan.tasks[0].trace_ids


@pytest.mark.usefixtures("workers_in_process")
def test_searches_are_made_once_and_their_best_trial_counts(
    backbone_folder: str, tmp_path: Path
) -> None:
    store = TraceStore(f"sqlite:///{tmp_path / 'traces.db'}")
    methods = parse_methods("plain,tpe-2")
    planned = plan_comparison([TASK], methods, seeds=1, train_rows=16, backbone=backbone_folder)
    started, summary = run_comparison(planned, store, time_limit_seconds=0.0)
    assert (summary.recorded, summary.left) == (0, 3)
    assert ("tpe-2", 0) not in started.tasks[0].trace_ids
    seen: list[tuple[str, int, int]] = []
    plan, summary = run_comparison(
        planned, store, workers=2, on_search=lambda *progress: seen.append(progress)
    )
    assert (summary.recorded, summary.skipped, summary.left) == (3, 0, 0)
    assert seen == [("", 0, 2), (TASK, 1, 2), (TASK, 2, 2)]
    traces = traces_of(plan, store)
    (task,) = plan.tasks
    assert len(traces) == 3
    tried = [traces[task.trace_ids["tpe-2", 0]], *(traces[k] for k in task.given_up["tpe-2", 0])]
    assert len(tried) == 2
    assert len({trace.recipe.learning_rate for trace in tried}) == 2
    assert {trace.task_fingerprint for trace in traces.values()} == {tried[0].task_fingerprint}
    best = max(tried, key=lambda trace: trace.validation[trace.metric])
    assert best.validation == tried[0].validation
    assert build_report(plan, traces).tasks[0].seeds == (0,)
    again, summary = run_comparison(planned, store)
    assert (summary.recorded, summary.skipped) == (0, 3)
    assert again.tasks[0].trace_ids == plan.tasks[0].trace_ids


@pytest.mark.usefixtures("workers_in_process")
def test_without_time_no_race_has_a_winner(backbone_folder: str, tmp_path: Path) -> None:
    store = TraceStore(f"sqlite:///{tmp_path / 'traces.db'}")
    methods = [Method("race", _race), Method("plain", lambda *_: Choice(PLAIN))]
    planned = plan_comparison([TASK], methods, seeds=1, train_rows=16, backbone=backbone_folder)
    plan, summary = run_comparison(planned, store, time_limit_seconds=0.0)
    assert summary.left == 3  # two first epochs and plain; the winner has no name yet
    assert ("race", 0) not in plan.tasks[0].trace_ids
    assert gather_results(plan, traces_of(plan, store), "plain")[0] == []
