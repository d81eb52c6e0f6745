"""StudyReport: what a study found, as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from metaft.comparing.judging import Judgement, correct, judge
from metaft.comparing.limits import limits_of_tasks
from metaft.comparing.report import notice_of_dropped, notice_of_failures, notice_of_size
from metaft.comparing.results import TaskResult
from metaft.comparing.standing import Standing, stand
from metaft.errors import RunFailedError
from metaft.significance import detectable_effect
from metaft.studying.answer import comparisons_at, state_answer, state_factor
from metaft.studying.combining import LeftOut
from metaft.studying.plan import StudyPlan
from metaft.studying.results import Convergence, FactorResults, StudyRun, gather_factor


@dataclass(frozen=True, slots=True)
class FactorReport:
    """One factor: its levels against the first of them.

    Attributes:
        factor: Its name.
        methods: Its levels, the reference first.
        reference: The first level.
        verdict: What is shown, in a sentence.
        tasks: Results by task; a level that does not fit a task has none there.
        judgements: Every other level against the reference, over the tasks that it fits and
            that no method had learned from; the p-values are corrected over all levels of all
            factors of the study.
        standings: Every level over those tasks.
        convergence: Task -> level -> how fast it learned.
        blocks: Comparisons that the means rest on, see `metaft.studying.results`.
        open_blocks: Those in which runs are still missing.
    """

    factor: str
    methods: tuple[str, ...]
    reference: str
    verdict: str
    tasks: tuple[TaskResult, ...]
    judgements: tuple[Judgement, ...]
    standings: tuple[Standing, ...]
    convergence: Mapping[str, Mapping[str, Convergence]]
    blocks: int
    open_blocks: int

    @property
    def unseen(self) -> tuple[TaskResult, ...]:
        """The tasks that the judgements are over."""
        return tuple(task for task in self.tasks if not task.is_seen)


@dataclass(frozen=True, slots=True)
class StudyReport:
    """What a study found.

    Attributes:
        name, size: Which study.
        title, question, source: Of its card.
        created_at: ISO 8601 in UTC.
        answer: In one sentence, with its evidence.
        factors: One report each.
        runs, runs_there: Runs and searches that the grid asks for, and those that are there.
        failures: How many of these did not end well.
        rows, seeds: Asked for.
        machines: Where the runs were made.
        left_out: What the study does without.
        notices: What a reader must know to read the numbers right.
        limits: What the study does not show.
    """

    name: str
    size: str
    title: str
    question: str
    source: str
    created_at: str
    answer: str
    factors: tuple[FactorReport, ...]
    runs: int
    runs_there: int
    failures: int
    rows: int
    seeds: int
    machines: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    notices: tuple[str, ...]
    limits: tuple[str, ...]

    def to_mapping(self) -> dict[str, Any]:
        """Return everything as plain values; NaN and infinities stay as they are."""
        return dataclasses.asdict(self)


def build_study_report(
    plan: StudyPlan,
    runs: Sequence[StudyRun],
    *,
    machines: Sequence[str] = (),
    problems: Mapping[str, str] | None = None,
) -> tuple[StudyReport, list[FactorResults]]:
    """Judge what is there of a study.

    Args:
        plan: What it asks for.
        runs: From `gather_runs`.
        machines: Where they were made.
        problems: Task -> why it could not be recorded.

    Returns:
        The report, and what it rests on, with the curves.

    Raises:
        RunFailedError: If nothing can be compared yet.
    """
    gathered = [gather_factor(plan, factor, runs) for factor in plan.variant.levels]
    if not any(found.tasks for found in gathered):
        raise RunFailedError(
            f"there is nothing to compare yet: {len(runs)} runs are there, and none of them has "
            "the others beside it that it is compared with. The same command goes on"
        )
    factors = _judge_factors(gathered)
    tasks = _all_tasks(factors)
    asked = sum(len(unit.arms) for unit in plan.units) * plan.variant.seeds
    reasons = [LeftOut(task, "", why) for task, why in (problems or {}).items()]
    report = StudyReport(
        name=plan.card.name,
        size=plan.size,
        title=plan.card.title,
        question=plan.card.question,
        source=plan.card.source,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        answer=state_answer(factors),
        factors=tuple(factors),
        runs=asked,
        runs_there=len(runs),
        failures=sum(run.result.status != "ok" for run in runs),
        rows=plan.variant.rows,
        seeds=plan.variant.seeds,
        machines=tuple(machines),
        left_out=(*plan.left_out, *reasons),
        notices=tuple(_notices(plan, factors, len(runs), asked)),
        limits=tuple(_limits(plan, factors, tasks)),
    )
    return report, gathered


def _judge_factors(gathered: Sequence[FactorResults]) -> list[FactorReport]:
    """Judge every factor, correcting for all levels of all of them."""
    raw = [_judge(found) for found in gathered]
    family = correct([judgement for some in raw for judgement in some])
    corrected = iter(family)
    reports = []
    for found, some in zip(gathered, raw, strict=True):
        judgements = tuple(next(corrected) for _ in some)
        unseen = [task for task in found.tasks if not task.is_seen]
        reports.append(
            FactorReport(
                factor=found.factor,
                methods=found.levels,
                reference=found.levels[0],
                verdict=state_factor(judgements, family),
                tasks=found.tasks,
                judgements=judgements,
                standings=tuple(stand(unseen, _present(found))),
                convergence=found.convergence,
                blocks=found.blocks,
                open_blocks=found.open_blocks,
            )
        )
    return reports


def _judge(found: FactorResults) -> list[Judgement]:
    unseen = [task for task in found.tasks if not task.is_seen]
    return judge(unseen, _present(found), found.levels[0])


def _present(found: FactorResults) -> list[str]:
    """Return the levels that have a result on some task."""
    return [level for level in found.levels if any(task.has(level) for task in found.tasks)]


def _all_tasks(factors: Sequence[FactorReport]) -> list[TaskResult]:
    """Return every task once."""
    named = {task.task: task for factor in factors for task in factor.unseen}
    return list(named.values())


def _notices(plan: StudyPlan, factors: Sequence[FactorReport], there: int, asked: int) -> list[str]:
    notices = []
    if there < asked:
        notices.append(
            f"{there} of {asked} runs are there: the study is not complete, and the same command "
            "goes on with it."
        )
    family = [one for factor in factors for one in factor.judgements]
    for datasets in sorted({one.points.pairs for one in family}):
        notices.append(notice_of_size(datasets, comparisons_at(datasets, family)))
    tasks = [task for factor in factors for task in factor.tasks]
    notices += [notice_of_failures(tasks), notice_of_dropped(family)]
    seen = dict.fromkeys(task.task for task in tasks if task.is_seen)
    if seen:
        notices.append(
            f"A method had learned from {', '.join(seen)} or relatives: these are marked, and left "
            "out of the tests."
        )
    if plan.variant.seeds == 1:
        notices.append("With one seed nothing is known of the spread between seeds.")
    return [notice for notice in notices if notice]


def _limits(
    plan: StudyPlan, factors: Sequence[FactorReport], tasks: Sequence[TaskResult]
) -> list[str]:
    limits = []
    if plan.size == "small":
        limits.append(
            "This is the small variant: fewer tasks, rows, levels and seeds than the study has "
            "(metaft study without --small)."
        )
    pairs = max((one.points.pairs for factor in factors for one in factor.judgements), default=0)
    effect = detectable_effect(pairs)
    if effect < float("inf"):
        levels = sum(len(factor.judgements) for factor in factors)
        limits.append(
            f"{pairs} datasets find an effect of d_z = {effect:.2f} four times in five (t-test, "
            f"uncorrected), and with Holm's correction over {levels} levels only a larger one: "
            "what is not shown to differ is not thereby shown to be equal."
        )
    if plan.variant.one_at_a_time:
        limits.append(
            "One factor was varied while the others stayed at their reference: nothing is said of "
            "how they act together."
        )
    elif len(factors) > 1:
        limits.append(
            "Means of a level run over all levels of the other factors: that a level helps beside "
            "some of them and harms beside others does not show."
        )
    return limits + limits_of_tasks(tasks)
