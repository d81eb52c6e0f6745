from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from metaft.comparing.choice import Choice
from metaft.comparing.curves import gather_curves
from metaft.comparing.protocol import ComparisonPlan
from metaft.comparing.report import build_report
from metaft.comparing.results import gather_results
from metaft.comparing.scoring import seconds_of
from metaft.comparing.searches import Searches, settle_searches
from metaft.comparing.tables import report_tables
from metaft.recipes import PLAIN, Recipe
from metaft.searching.proposals import SearchWay
from metaft.searching.space import usual_space
from metaft.searching.walk import Ground, plan_search
from metaft.traces.trace import Trace

if TYPE_CHECKING:
    from tests.comparing.conftest import Comparison

TRIALS = 3


class Kept:
    """Stands in for a store."""

    def __init__(self, traces: dict[str, Trace]) -> None:
        self.kept = traces

    def traces(self, among: list[str]) -> list[Trace]:
        return [self.kept[key] for key in among if key in self.kept]


@pytest.fixture
def searched(comparison: Comparison) -> tuple[ComparisonPlan, dict[str, Trace]]:
    """Return a plan with a search on two seeds, and the traces of plain."""
    plan, traces = comparison({"mail": {"plain": [0.7, 0.7], "tpe-3": [0.7, 0.7]}})
    (task,) = plan.tasks
    ground = Ground("mail", task.kind, task.metric, "t", task.backbone, "b", 64, "mail")
    searches = {
        ("tpe-3", seed): plan_search(
            ground,
            sampler="tpe",
            space=usual_space("text", "tpe"),
            trials=TRIALS,
            base=PLAIN.with_settings({"seed": seed}),
        )
        for seed in range(2)
    }
    plain = {at: key for at, key in task.trace_ids.items() if at[0] == "plain"}
    choices = {**task.choices, "tpe-3": Choice(PLAIN, search=SearchWay("tpe", TRIALS))}
    planned = dataclasses.replace(task, choices=choices, trace_ids=plain, searches=searches)
    kept = {key: traces[key] for key in plain.values()}
    return dataclasses.replace(plan, tasks=(planned,)), kept


def _make(plan: ComparisonPlan, traces: dict[str, Trace], seed: int, scores: list[object]) -> None:
    """Store the trials of a search; a text is the status of a run that broke off at once."""
    like = traces["mail/plain/0"]
    walk = Searches(plan, Kept(traces)).walks["mail", ("tpe-3", seed)]  # type: ignore[arg-type]
    for score in scores:
        recipe = next(walk.to_make()).recipe
        key = walk.plan.ground.key_of(recipe)
        is_ok = not isinstance(score, str)
        epoch = dataclasses.replace(
            like.curve[0], epoch=1, validation={"accuracy": score}, test={"accuracy": 0.6}
        )
        traces[key] = dataclasses.replace(
            like,
            trace_id=key,
            recipe=recipe,
            seed=seed,
            curve=(epoch,) if is_ok else (),
            best_epoch=int(is_ok),
            status="ok" if is_ok else score,
            test={"accuracy": 0.6},
        )


def _settled(plan: ComparisonPlan, traces: dict[str, Trace]) -> ComparisonPlan:
    searches = Searches(plan, Kept(traces))  # type: ignore[arg-type]
    searches.look()
    return settle_searches(plan, searches)


def test_a_search_that_is_not_over_has_found_nothing(searched) -> None:
    plan, traces = searched
    _make(plan, traces, 0, [0.5, 0.8])
    settled = _settled(plan, traces)
    assert settled.tasks[0].recipe_of("tpe-3", 0) is None
    assert len(settled.runs) == 2  # plain's
    searches = Searches(plan, Kept(traces))  # type: ignore[arg-type]
    assert (searches.trials, searches.look(), searches.left([])) == (2 * TRIALS, 2, 4)
    assert searches.left(["mail"]) == 0
    assert gather_results(settled, traces, "plain")[0] == []


def test_the_best_trial_on_validation_counts_and_costs_what_all_took(searched) -> None:
    plan, traces = searched
    _make(plan, traces, 0, [0.5, 0.8, "diverged"])
    _make(plan, traces, 1, [0.9, 0.8, 0.7])
    settled = _settled(plan, traces)
    (task,) = settled.tasks
    assert traces[task.trace_ids["tpe-3", 0]].validation == {"accuracy": 0.7}  # of plain's trace
    assert traces[task.trace_ids["tpe-3", 0]].curve[0].validation == {"accuracy": 0.8}
    assert len(task.given_up["tpe-3", 0]) == 2
    ((result,), left_out) = gather_results(settled, traces, "plain")
    assert left_out == {}
    first, second = result.of("tpe-3").runs
    tried = [traces[key] for key in (task.trace_ids["tpe-3", 1], *task.given_up["tpe-3", 1])]
    assert second.seconds == pytest.approx(sum(seconds_of(trace, task.rows) for trace in tried))
    diverged = next(traces[k] for k in task.given_up["tpe-3", 0] if traces[k].status != "ok")
    kept = seconds_of(tried[0], task.rows)
    assert first.seconds == pytest.approx(2 * kept + diverged.costs.wall_seconds)
    assert first.found == task.winners["tpe-3", 0]
    assert [run.tried for run in (first, second)] == [TRIALS, TRIALS]
    assert [run.tried for run in result.of("plain").runs] == [1, 1]


def test_the_report_says_what_was_found_on_each_seed(searched) -> None:
    plan, traces = searched
    for seed in range(2):
        _make(plan, traces, seed, [0.5, 0.8, 0.7])
    settled = _settled(plan, traces)
    report = build_report(settled, traces)
    assert any("tpe-3 (3 trials): a search on each dataset" in told for told in report.notices)
    recipes = next(table for table in report_tables(report) if table.name == "recipes")
    (row,) = [row for row in recipes.rows if row[0] == "tpe-3"]
    assert "seed 0, best of 3: learning_rate" in row[2]
    assert "seed 1, best of 3: learning_rate" in row[2]
    (curves,) = gather_curves(settled, traces)
    budgets = {curve.method: curve.budget for curve in curves.methods}
    found: list[Recipe] = [settled.tasks[0].winners["tpe-3", seed] for seed in range(2)]
    assert budgets == {"plain": PLAIN.epochs, "tpe-3": max(recipe.epochs for recipe in found)}


def test_a_search_without_any_score_counts_as_a_guess(searched) -> None:
    plan, traces = searched
    for seed in range(2):
        _make(plan, traces, seed, ["diverged"] * TRIALS)
    ((result,), _) = gather_results(_settled(plan, traces), traces, "plain")
    assert result.of("tpe-3").failures == 2
    assert result.of("tpe-3").score == result.guess_score
