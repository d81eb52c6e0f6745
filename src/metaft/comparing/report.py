"""Report: everything that a comparison found, as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from metaft.comparing.judging import (
    Judgement,
    PredictionCheck,
    check_predictions,
    judge,
    rank_methods,
)
from metaft.comparing.limits import machines_of, state_limits
from metaft.comparing.protocol import ComparisonPlan
from metaft.comparing.results import TaskResult, gather_results
from metaft.comparing.standing import Standing, stand
from metaft.comparing.verdict import ALPHA, state_verdict
from metaft.errors import RunFailedError, UserError
from metaft.significance import RankComparison, fewest_pairs
from metaft.traces.trace import Trace

REFERENCE = "plain"
"""What the other methods are compared with, where it is among them; else the first one."""


class Compared(Protocol):
    """Methods over tasks: what tables and figures take of a report; see `Report`."""

    @property
    def methods(self) -> tuple[str, ...]: ...

    @property
    def reference(self) -> str: ...

    @property
    def tasks(self) -> tuple[TaskResult, ...]: ...

    @property
    def unseen(self) -> tuple[TaskResult, ...]: ...

    @property
    def judgements(self) -> tuple[Judgement, ...]: ...


@dataclass(frozen=True, slots=True)
class Report:
    """A paired comparison of methods over tasks and seeds.

    Attributes:
        created_at: ISO 8601 in UTC.
        methods: Names, in the order asked for.
        reference: The method that the others are compared with.
        seeds: Seeds asked for; each task says which are complete.
        train_rows: Training rows asked for; each task says how many it has.
        priors: Name and version of every prior that a method asked.
        machines: Where the runs were made.
        verdict: What the headline shows, in one sentence.
        standings: Each method over the tasks of the headline.
        tasks: Results by task.
        left_out: Task -> why there is no result.
        judgements: The headline: each other method against the reference, over the tasks
            that no method had learned from.
        judgements_with_seen: The same over all tasks; empty where that is no other set.
        ranks: All methods at once, over the tasks of the headline; None for two methods.
        predictions: What was predicted against what was reached, over the same tasks.
        notices: What a reader must know to read the numbers right.
        limits: What the comparison does not show.
    """

    created_at: str
    methods: tuple[str, ...]
    reference: str
    seeds: int
    train_rows: int
    priors: tuple[str, ...]
    machines: tuple[str, ...]
    verdict: str
    standings: tuple[Standing, ...]
    tasks: tuple[TaskResult, ...]
    left_out: Mapping[str, str]
    judgements: tuple[Judgement, ...]
    judgements_with_seen: tuple[Judgement, ...]
    ranks: RankComparison | None
    predictions: tuple[PredictionCheck, ...]
    notices: tuple[str, ...]
    limits: tuple[str, ...]

    @property
    def unseen(self) -> tuple[TaskResult, ...]:
        """The tasks of the headline."""
        return tuple(task for task in self.tasks if not task.is_seen)

    def to_mapping(self) -> dict[str, Any]:
        """Return everything as plain values; NaN and infinities stay as they are."""
        return dataclasses.asdict(self)


def choose_reference(methods: Sequence[str], wanted: str | None = None) -> str:
    """Return the method that the others are compared with.

    Args:
        methods: Names of all methods, at least one.
        wanted: One of them; by default `REFERENCE`, where that is missing the first.

    Raises:
        UserError: If what is wanted is none of them.
    """
    if wanted is None:
        return REFERENCE if REFERENCE in methods else methods[0]
    if wanted not in methods:
        raise UserError(
            f"the reference {wanted!r} is none of the methods {', '.join(methods)}",
            "Name one of them with --reference, or add it to --methods",
        )
    return wanted


def build_report(
    plan: ComparisonPlan,
    traces: Mapping[str, Trace],
    problems: Mapping[str, str] | None = None,
    reference: str | None = None,
) -> Report:
    """Judge what was recorded.

    Args:
        plan: What was compared.
        traces: Key -> trace, of the runs that are there; some may be missing.
        problems: Task -> why it could not be recorded.
        reference: See `choose_reference`.

    Raises:
        RunFailedError: If no task has a seed with the runs of all methods.
    """
    reference = choose_reference(plan.methods, reference)
    tasks, left_out = gather_results(plan, traces, reference)
    left_out = {name: (problems or {}).get(name, why) for name, why in left_out.items()}
    if not tasks:
        name, reason = next(iter(left_out.items()))
        raise RunFailedError(f"there is nothing to compare: {name}: {reason}")
    unseen = [task for task in tasks if not task.is_seen]
    has_seen = len(unseen) < len(tasks)
    judgements = judge(unseen, plan.methods, reference)
    return Report(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        methods=plan.methods,
        reference=reference,
        seeds=plan.seeds,
        train_rows=plan.train_rows,
        priors=_priors_of(plan),
        machines=machines_of(traces),
        verdict=state_verdict(judgements),
        standings=tuple(stand(unseen, plan.methods)),
        tasks=tuple(tasks),
        left_out=left_out,
        judgements=tuple(judgements),
        judgements_with_seen=tuple(judge(tasks, plan.methods, reference)) if has_seen else (),
        ranks=rank_methods(unseen, plan.methods),
        predictions=tuple(check_predictions(unseen, plan.methods)),
        notices=tuple(_notices(tasks, unseen, plan, judgements)),
        limits=tuple(state_limits(unseen, judgements, plan)),
    )


def _priors_of(plan: ComparisonPlan) -> tuple[str, ...]:
    asked = {choice.prior for task in plan.tasks for choice in task.choices.values()}
    return tuple(sorted(asked - {""}))


def _notices(
    tasks: list[TaskResult],
    unseen: list[TaskResult],
    plan: ComparisonPlan,
    judgements: Sequence[Judgement],
) -> list[str]:
    notices = [
        notice_of_size(len(unseen), comparisons=len(plan.methods) - 1),
        _notice_of_seen(len(tasks) - len(unseen), len(tasks)),
        _notice_of_seeds(tasks, plan.seeds),
        _notice_of_searches(plan),
        notice_of_failures(tasks),
        notice_of_dropped(judgements),
    ]
    return [notice for notice in notices if notice]


def notice_of_size(datasets: int, comparisons: int = 1) -> str:
    """Say that so few datasets cannot show a difference; nothing where they can.

    Args:
        datasets: That count.
        comparisons: Tests that Holm's correction is over.
    """
    needed = fewest_pairs(ALPHA / comparisons)
    if datasets >= needed:
        return ""
    floor = f"p = {min(1.0, 2.0 ** (1 - datasets)):.3g}" if datasets else "anything"
    corrected = f" after a correction for {comparisons} comparisons" if comparisons > 1 else ""
    return (
        f"{datasets} dataset{'s' * (datasets != 1)} cannot show a difference: Wilcoxon's test "
        f"gets no lower than {floor} with so few, and needs {needed} to reach .05{corrected}. "
        "Read the tests as a description only."
    )


def _notice_of_seen(seen: int, tasks: int) -> str:
    if not seen:
        return ""
    return (
        f"{seen} of {tasks} tasks, or relatives of theirs, are among those that the prior "
        "learned from: they are marked, and left out of the headline tests."
    )


def _notice_of_seeds(tasks: list[TaskResult], seeds: int) -> str:
    fewer = [task.task for task in tasks if len(task.seeds) < seeds]
    if fewer:
        return f"Not all {seeds} seeds are there for {', '.join(fewer)}."
    if seeds == 1:
        return "With one seed nothing is known of the spread between seeds."
    return ""


def _notice_of_searches(plan: ComparisonPlan) -> str:
    ways = {
        method: choice.search
        for task in plan.tasks
        for method, choice in task.choices.items()
        if choice.search
    }
    if not ways:
        return ""
    told = ", ".join(f"{method} ({way.trials} trials)" for method, way in ways.items())
    return (
        f"{told}: a search on each dataset and seed. Its score is that of the trial that was best "
        "on the validation rows, its seconds are those of all its trials."
    )


def notice_of_failures(tasks: Sequence[TaskResult]) -> str:
    """Say how many runs failed, and what they count; nothing where none did.

    Args:
        tasks: Results; a run counts once, however many methods, factors or levels share it.
    """
    failed = {
        run.trace_id
        for task in tasks
        for result in task.results
        for run in result.runs
        if run.status != "ok"
    }
    if not failed:
        return ""
    failures = len(failed)
    return (
        f"{failures} run{'s' * (failures != 1)} failed: they count with the score of always "
        "answering the most frequent class, and in no comparison of times."
    )


def notice_of_dropped(judgements: Sequence[Judgement]) -> str:
    """Say from which tests datasets are left out for a score that is no number; else nothing."""
    dropped = [
        f"{judgement.points.dropped} of {judgement.method} less {judgement.reference}"
        for judgement in judgements
        if judgement.points.dropped
    ]
    if not dropped:
        return ""
    return (
        f"Where a score is not finite the dataset is left out of the tests: {', '.join(dropped)}."
    )
