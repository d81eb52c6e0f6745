"""Comparisons made up by hand: a plan, and the traces of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pytest

from metaft.comparing.choice import Choice
from metaft.comparing.protocol import ComparisonPlan, PlannedTask
from metaft.comparing.scoring import RowCounts
from metaft.finetuning.outcome import Costs, EpochRecord
from metaft.prior.suggestion import Prediction
from metaft.recipes import PLAIN, STEADY
from metaft.traces.environment import Environment
from metaft.traces.trace import TRACE_SCHEMA, Trace

GUESS = 0.5
ROWS = RowCounts(train=64, validation=40, test=60)
_ENVIRONMENT = Environment("3.11.7", "2.15.0", "5.23.0", "1.0.31", "0.1.0", "made up", 2, 1, "")

Scores = Mapping[str, Mapping[str, Sequence[float | str]]]
"""Task -> method -> test score of each seed, or the status of a run that failed."""


class Comparison(Protocol):
    """Makes up a plan and its traces."""

    def __call__(
        self,
        scores: Scores,
        *,
        seen: Sequence[str] = (),
        seconds: Mapping[str, float] | None = None,
        predicted: Mapping[str, Prediction] | None = None,
        missing: Sequence[tuple[str, str, int]] = (),
    ) -> tuple[ComparisonPlan, dict[str, Trace]]: ...


@pytest.fixture(scope="session")
def comparison() -> Comparison:
    """Return a factory of comparisons; every run has two epochs."""

    def build(
        scores: Scores,
        *,
        seen: Sequence[str] = (),
        seconds: Mapping[str, float] | None = None,
        predicted: Mapping[str, Prediction] | None = None,
        missing: Sequence[tuple[str, str, int]] = (),
    ) -> tuple[ComparisonPlan, dict[str, Trace]]:
        tasks = [
            _planned_task(name, by_method, name in seen, predicted or {})
            for name, by_method in scores.items()
        ]
        traces = {
            key: _trace(
                key, task, seed, scores[task.name][method][seed], (seconds or {}).get(method, 10.0)
            )
            for task in tasks
            for (method, seed), key in task.trace_ids.items()
            if (task.name, method, seed) not in missing
        }
        first = next(iter(scores.values()))
        plan = ComparisonPlan(
            methods=tuple(first),
            seeds=len(next(iter(first.values()))),
            train_rows=ROWS.train,
            tasks=tuple(tasks),
            left_out={},
        )
        return plan, traces

    return build


def _planned_task(
    name: str,
    by_method: Mapping[str, Sequence[float | str]],
    is_seen: bool,
    predicted: Mapping[str, Prediction],
) -> PlannedTask:
    return PlannedTask(
        name=name,
        kind="classification",
        metric="accuracy",
        backbone="tiny-bert",
        guess_score=GUESS,
        rows=ROWS,
        choices={
            method: Choice(
                recipe=PLAIN if method == "plain" else STEADY,
                predicted=predicted.get(method),
                is_seen=is_seen and method != "plain",
            )
            for method in by_method
        },
        trace_ids={
            (method, seed): f"{name}/{method}/{seed}"
            for method, scores in by_method.items()
            for seed in range(len(scores))
        },
        key_of=lambda recipe, seed: f"{name}/{recipe.learning_rate}/{recipe.epochs}/{seed}",
    )


def _trace(key: str, task: PlannedTask, seed: int, score: float | str, seconds: float) -> Trace:
    is_ok = not isinstance(score, str)
    reached = GUESS if isinstance(score, str) else score
    curve = tuple(_epoch(number, reached, seconds) for number in (1, 2))
    ended: dict[str, Any] = {"status": "ok", "reason": ""}
    if not is_ok:
        ended = {"status": score, "reason": "made up"}
    return Trace(
        trace_id=key,
        schema=TRACE_SCHEMA,
        task=task.name,
        task_fingerprint="f" * 16,
        kind=task.kind,
        metric=task.metric,
        backbone=task.backbone,
        backbone_fingerprint="b" * 16,
        recipe=task.choices[key.split("/")[-2]].recipe,
        train_rows=task.rows.train,
        seed=seed,
        curve=curve,
        best_epoch=2,
        validation=curve[1].validation,
        test=curve[1].test,
        costs=Costs(seconds, seconds, None, 512.0),
        epochs_to_95_percent=2,
        precision="fp32",
        device="cpu",
        environment=_ENVIRONMENT,
        created_at="2026-01-01T00:00:00+00:00",
        **ended,
    )


def _epoch(number: int, score: float, seconds: float) -> EpochRecord:
    """Return the first epoch 10 points below the second; its steps are 40 % of all seconds."""
    reached = score if number == 2 else score - 0.1
    return EpochRecord(
        epoch=number,
        train_loss=1.0 / number,
        validation={"accuracy": reached},
        test={"accuracy": reached},
        test_halves=(reached, reached),
        train_seconds=0.4 * seconds,
        evaluation_seconds=0.1 * seconds,
    )
