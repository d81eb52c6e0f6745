"""Limits: what a comparison does not show, told from what it consists of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from metaft.comparing.judging import Judgement
from metaft.comparing.protocol import ComparisonPlan
from metaft.comparing.results import TaskResult
from metaft.significance import detectable_effect
from metaft.traces.trace import Trace


def state_limits(
    tasks: Sequence[TaskResult], judgements: Sequence[Judgement], plan: ComparisonPlan
) -> list[str]:
    """Return a sentence or two for each limit.

    Args:
        tasks: Those of the headline.
        judgements: Over them.
        plan: What was compared.
    """
    limits = [
        _limit_of_power(len(tasks), judgements),
        *limits_of_tasks(tasks),
        _limit_of_knowledge(plan),
    ]
    return [limit for limit in limits if limit]


def limits_of_tasks(tasks: Sequence[TaskResult]) -> list[str]:
    """Return what tasks, backbones and rows leave open."""
    limits = [_limit_of_tasks(tasks), _limit_of_setting(tasks), _limit_of_rows(tasks)]
    return [limit for limit in limits if limit]


def machines_of(traces: Mapping[str, Trace]) -> tuple[str, ...]:
    """Name the machines that made the runs."""
    return tuple(sorted({_machine_of(trace) for trace in traces.values()}))


def _machine_of(trace: Trace) -> str:
    environment = trace.environment
    device = environment.gpu_name if trace.device == "cuda" else environment.cpu_model
    threads = f"{environment.threads} thread{'s' * (environment.threads != 1)}"
    return f"{device}, {threads}, torch {environment.torch_version}"


def _limit_of_power(datasets: int, judgements: Sequence[Judgement]) -> str:
    effect = detectable_effect(datasets)
    if math.isinf(effect):
        return ""
    sizes = ", ".join(f"{found.detectable_points:.1f} for {found.method}" for found in judgements)
    return (
        f"{datasets} datasets find an effect of d_z = {effect:.2f} four times in five (t-test, "
        f"uncorrected); given how much the differences vary here, in points that is {sizes}. "
        "Smaller differences may be there and not be seen: what is not shown to differ is not "
        "thereby shown to be equal."
    )


def _limit_of_tasks(tasks: Sequence[TaskResult]) -> str:
    if not tasks:
        return ""
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(t.kind for t in tasks).items())
    return (
        f"The tasks ({kinds}) were picked, not drawn at random: the tests speak of tasks like "
        "these, and relatives among them count as independent."
    )


def _limit_of_setting(tasks: Sequence[TaskResult]) -> str:
    if not tasks:
        return ""
    backbones = ", ".join(sorted({task.backbone for task in tasks}))
    rows = _span([task.train_rows for task in tasks])
    return (
        f"Everything was run with {backbones} on {rows} training rows: nothing is said of other "
        "backbones and sizes."
    )


def _limit_of_rows(tasks: Sequence[TaskResult]) -> str:
    if not tasks:
        return ""
    fewest = min(task.test_rows for task in tasks)
    seeds = _span([len(task.seeds) for task in tasks])
    return (
        f"Scores are means over seeds ({seeds} per dataset) and rest on "
        f"{_span([task.test_rows for task in tasks])} test rows. An accuracy of 80 % over "
        f"{fewest} rows is known to {100 * math.sqrt(0.16 / fewest):.1f} points (standard "
        "error), and more seeds do not change that, for the test rows stay the same."
    )


def _limit_of_knowledge(plan: ComparisonPlan) -> str:
    if not any(choice.prior for task in plan.tasks for choice in task.choices.values()):
        return ""
    seen = [task.name for task in plan.tasks if task.is_seen]
    told = f"The prior knew {', '.join(seen)} or relatives. " if seen else ""
    return (
        f"{told}That the prior has not learned from a task is known by its name, its fingerprint "
        "and its known relatives; overlaps that nobody noted, and what the backbone saw when it "
        "was pretrained, are not."
    )


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
