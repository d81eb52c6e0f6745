"""Screening: measuring what one changed field gains on a good recipe (`screened.py`)."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metaft.errors import PriorError
from metaft.prior.comparisons import TIE_POINTS
from metaft.prior.screened import CONTROLS, SCREENED_FIELDS, LevelEffect, Screening, adopted_of
from metaft.prior.space import without_seed
from metaft.prior.table import tabulate
from metaft.recipes import PLAIN, Recipe
from metaft.significance import count_wins, holm, paired_t_test, wilcoxon_test
from metaft.tasks.task import Modality
from metaft.traces.trace import Trace


@dataclass(frozen=True, eq=False)
class Pair:
    """Two runs that differ in one screened field.

    Attributes:
        field: Its name.
        base: The run with the plain value.
        varied: The run with another one.
    """

    field: str
    base: Trace
    varied: Trace

    @property
    def value(self) -> Any:
        """Return the value of the field in the varied run."""
        return getattr(self.varied.recipe, self.field)


def find_pairs(traces: Iterable[Trace], modality: Modality) -> list[Pair]:
    """Find the runs of a modality that differ from a base recipe in one screened field.

    The base has the plain value in all of these fields. Where runs of several base recipes are
    there, that of most pairs counts.

    Args:
        traces: Any; those that belong to no pair count for nothing.
        modality: Of their tasks.

    Raises:
        PriorError: If there is no pair.
    """
    ours = [trace for trace in traces if modality_of(trace) == modality]
    bases = {_key(t, without_seed(t.recipe)): t for t in ours if not _changed(t.recipe)}
    by_base: dict[Recipe, list[Pair]] = defaultdict(list)
    for trace in ours:
        changed = _changed(trace.recipe)
        if len(changed) != 1:
            continue
        recipe = without_seed(_plainly(trace.recipe, changed[0]))
        base = bases.get(_key(trace, recipe))
        if base is not None:
            by_base[recipe].append(Pair(changed[0], base, trace))
    if not by_base:
        raise PriorError(
            f"among the {len(ours):,} screening traces of {modality}s there is no run beside its "
            f"base: one that differs in one of {', '.join(SCREENED_FIELDS)} alone, on the same "
            "task, backbone, rows and seed",
            "Record some with metaft study screening, and export that store",
        )
    return max(by_base.values(), key=lambda pairs: (len(pairs), repr(pairs[0].base.recipe)))


def traces_of(pairs: Sequence[Pair]) -> list[Trace]:
    """Return every run of some pairs once, sorted by its key."""
    found = {trace.trace_id: trace for pair in pairs for trace in (pair.base, pair.varied)}
    return [found[key] for key in sorted(found)]


def screen(pairs: Sequence[Pair]) -> Screening:
    """Measure what each level gained on the base; see the module for what is adopted.

    Args:
        pairs: From `find_pairs`, so at least one.

    Raises:
        PriorError: If no run was scored on test rows.
    """
    traces = traces_of(pairs)
    measured = _measure(pairs)
    if not measured:
        raise PriorError(
            f"none of the {len(traces):,} screening traces was scored on test rows",
            "Record some with metaft study screening, and export that store",
        )
    effects = _correct([effect for effect, _ in measured])
    return Screening(
        base=without_seed(pairs[0].base.recipe),
        backbones=tuple(sorted({trace.backbone for trace in traces})),
        train_rows=tuple(sorted({trace.train_rows for trace in traces})),
        tasks={t.task: t.task_fingerprint for t in sorted(traces, key=lambda t: t.task)},
        traces=len(traces),
        levels=tuple(sorted(effects, key=lambda effect: (-effect.points, effect.name))),
        control_adopted=_count_control(measured),
    )


def modality_of(trace: Trace) -> Modality:
    """Return the modality of a run's task."""
    return "image" if trace.kind == "image_classification" else "text"


@dataclass(frozen=True, eq=False)
class _Gains:
    """What a level gained on each task, `(tasks,)` in points."""

    test: np.ndarray
    validation: np.ndarray


def _measure(pairs: Sequence[Pair]) -> list[tuple[LevelEffect, _Gains]]:
    """Return every level with its uncorrected tests, and what it gained on each task."""
    by_level: dict[tuple[str, Any], list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_level[pair.field, pair.value].append(pair)
    found = []
    for (field, value), own in sorted(by_level.items(), key=lambda item: str(item[0])):
        differences = [(pair, _difference(pair)) for pair in own]
        known = [(pair, d) for pair, d in differences if math.isfinite(d["test"])]
        if not known:
            continue
        gains = _Gains(_per_task(known, "test"), _per_task(known, "validation"))
        ratios = [d["time_ratio"] for _, d in known if math.isfinite(d["time_ratio"])]
        effect = LevelEffect(
            field=field,
            value=value,
            kinds=tuple(sorted({pair.base.kind for pair, _ in known})),
            time_ratio=float(np.median(ratios)) if ratios else math.nan,
            failed=float(np.mean([d["failed"] for _, d in known])),
            **_tested(gains),
        )
        found.append((effect, gains))
    return found


def _difference(pair: Pair) -> dict[str, float]:
    """Compare two runs as a table of traces does: a failed one scores what it had by then."""
    table = tabulate([pair.base, pair.varied])
    base = table.space.cells.index(without_seed(pair.base.recipe))
    varied = table.space.cells.index(without_seed(pair.varied.recipe))
    seconds = table.run_seconds[0]
    return {
        "test": float(table.test[0, varied] - table.test[0, base]),
        "validation": float(table.validation[0, varied] - table.validation[0, base]),
        "time_ratio": float(seconds[varied] / seconds[base]) if seconds[base] > 0 else math.nan,
        "failed": float(table.failed[0, varied]),
    }


def _per_task(known: Sequence[tuple[Pair, Mapping[str, float]]], name: str) -> np.ndarray:
    """Return the mean difference of each task, over its backbones, sizes and seeds."""
    of_task: dict[str, list[float]] = defaultdict(list)
    for pair, difference in known:
        of_task[pair.base.task].append(difference[name])
    return np.array([np.mean(of_task[task]) for task in sorted(of_task)])


def _tested(gains: _Gains) -> dict[str, Any]:
    """Return the figures of a level that its gains tell, not yet corrected."""
    t_test, wilcoxon = paired_t_test(gains.test), wilcoxon_test(gains.test)
    counts = count_wins(gains.test, tie=TIE_POINTS)
    return {
        "tasks": len(gains.test),
        "points": float(gains.test.mean()),
        "validation_points": float(gains.validation.mean()),
        "t_test_p": t_test.p_value,
        "wilcoxon_p": wilcoxon.p_value,
        "t_test_p_holm": t_test.p_value,
        "wilcoxon_p_holm": wilcoxon.p_value,
        "win_tie_loss": (counts.wins, counts.ties, counts.losses),
    }


def _correct(effects: Sequence[LevelEffect]) -> list[LevelEffect]:
    """Correct both tests for the number of levels, by Holm."""
    t_tests = holm([effect.t_test_p for effect in effects])
    wilcoxons = holm([effect.wilcoxon_p for effect in effects])
    return [
        dataclasses.replace(effect, t_test_p_holm=t_test, wilcoxon_p_holm=wilcoxon)
        for effect, t_test, wilcoxon in zip(effects, t_tests, wilcoxons, strict=True)
    ]


def _count_control(measured: Sequence[tuple[LevelEffect, _Gains]]) -> int:
    """Count the repeats that adopt a level although its runs and the base's were exchanged."""
    rng = np.random.default_rng(0)
    return sum(_adopts_exchanged(measured, rng) for _ in range(CONTROLS))


def _adopts_exchanged(
    measured: Sequence[tuple[LevelEffect, _Gains]], rng: np.random.Generator
) -> bool:
    """Exchange base and level on half of the tasks, each level by itself, and judge anew."""
    effects = []
    for effect, gains in measured:
        signs = rng.choice((-1.0, 1.0), size=len(gains.test))
        exchanged = _Gains(signs * gains.test, signs * gains.validation)
        effects.append(dataclasses.replace(effect, **_tested(exchanged)))
    return adopted_of(_correct(effects)) is not None


def _changed(recipe: Recipe) -> list[str]:
    return [name for name in SCREENED_FIELDS if getattr(recipe, name) != getattr(PLAIN, name)]


def _plainly(recipe: Recipe, field: str) -> Recipe:
    return dataclasses.replace(recipe, **{field: getattr(PLAIN, field)})


def _key(trace: Trace, recipe: Recipe) -> tuple[Any, ...]:
    """Return what two runs of a pair have in common."""
    fingerprints = (trace.task_fingerprint, trace.backbone_fingerprint)
    return (trace.task, *fingerprints, trace.train_rows, trace.seed, recipe)
