"""suggest_for: ask for a recipe by the name of a dataset, or by its path."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metaft.backbones.load import ALIASES, default_backbone
from metaft.errors import PriorError
from metaft.prior.choice import Goal, Limits
from metaft.prior.prior import Prior, newest_prior, shipped_priors
from metaft.prior.suggest import suggest
from metaft.tasks.columns import RECOGNISED
from metaft.traces.trace import VALIDATION_ROWS

if TYPE_CHECKING:
    from metaft.prior.described import Described
    from metaft.prior.suggestion import Suggestion
    from metaft.tasks.load import ColumnNames
    from metaft.tasks.task import Task


def suggest_for(
    dataset: str,
    *,
    backbone: str | None = None,
    prior: str | None = None,
    rows: int | None = None,
    goal: Goal = "score",
    max_time_seconds: float | None = None,
    max_memory_mib: float | None = None,
    top: int = 1,
    columns: ColumnNames | None = None,
    offline: bool = False,
    task: Task | None = None,
    probe: bool = False,
    validation_rows: int | None = None,
) -> Suggestion:
    """Suggest a recipe for a dataset.

    Where the prior ships the dataset's features, neither its rows nor the backbone are
    loaded. Else the backbone passes once, frozen, over at most 1,000 training rows.

    Args:
        dataset: A task's name, a hub id, or a path.
        backbone: Identity of the backbone; None takes the one that the prior knows.
        prior: A shipped prior's name or a folder; None takes the newest shipped one that
            knows the modality and, where there is one, the sort of task and the backbone.
        rows: Training rows of the run; None takes all, or, without the data, as many as were
            recorded.
        goal: `score`, or `cost`: the cheapest recipe expected to be no worse than plain.
        max_time_seconds: Longest time that the run may be expected to take.
        max_memory_mib: Most memory that it may be expected to take.
        top: Recipes wanted; the ones after the first are alternatives.
        columns: Columns of a file, where they are not to be recognised.
        offline: Never ask the hub.
        task: The dataset, where it is loaded already; it may be a sample.
        probe: Let the prior know what a few trial steps on the dataset tell. Where it ships
            that, or this was asked before, none are taken.
        validation_rows: Rows that the run scores after every epoch; None takes what
            `metaft finetune` does.

    Raises:
        UserError: If prior, dataset or backbone cannot be had, nothing fits the limits, or the
            prior knows nothing of trial steps.
    """
    question = _Question(
        dataset=dataset,
        backbone=None if backbone is None else ALIASES.get(backbone, backbone),
        rows=rows,
        columns=columns,
        offline=offline,
        task=task,
        probe=probe,
    )
    opened = None if prior is None else Prior.load(prior)
    if opened is not None:
        question.check(opened)
    asked = _find_shipped(question, opened) or _describe(question, opened)
    suggestion = suggest(
        asked.prior,
        asked.row,
        goal=goal,
        limits=Limits(max_time_seconds, max_memory_mib),
        top=top,
        dataset=dataset,
        notes=_notes_on(asked.row, probe=probe),
        validation_rows=asked.validation_rows if validation_rows is None else validation_rows,
    )
    return dataclasses.replace(suggestion, probe_seconds=asked.probe_seconds)


@dataclass(frozen=True, slots=True)
class _Question:
    """What was asked; see `suggest_for`."""

    dataset: str
    backbone: str | None
    rows: int | None
    columns: ColumnNames | None
    offline: bool
    task: Task | None
    probe: bool

    def check(self, prior: Prior) -> None:
        """Refuse a prior that cannot be asked this.

        Raises:
            PriorError: If it knows nothing of trial steps, and they are to be taken.
        """
        if self.probe and not prior.manifest.is_probed:
            raise PriorError(
                f"the prior {prior.name!r} was fitted without trial steps, so a probe tells it "
                "nothing",
                "Ask without --probe, or name a prior that metaft prior fit --probe made",
            )

    @property
    def is_name(self) -> bool:
        """Whether the dataset is meant by its name: a path, or columns of one's own come first."""
        if self.columns not in (None, RECOGNISED) or Path(self.dataset).exists():
            return False
        return self.task is None or self.task.source != "file"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A prior, and what it is asked about.

    Attributes:
        prior: Answers.
        row: What is known of the dataset.
        probe_seconds: Wall time of the trial steps; None where none were asked for.
        validation_rows: Rows that the run will score after every epoch; as many as recordings do
            where the dataset is not loaded.
    """

    prior: Prior
    row: Described
    probe_seconds: float | None
    validation_rows: int


def _find_shipped(question: _Question, opened: Prior | None) -> _Asked | None:
    """Return a prior that ships the features of a dataset, and the features."""
    if not question.is_name:
        return None
    for candidate in [opened] if opened else shipped_priors():
        if question.dataset not in candidate.manifest.described_tasks:
            continue
        prior = opened or Prior.load(candidate.folder)
        backbone = question.backbone or _own_backbone(prior)
        asked = (question.dataset, backbone)
        known = [row for row in prior.fitted.described if (row.task, row.backbone) == asked]
        if known:
            question.check(prior)
            row = _nearest_in_size(known, question.rows)
            scored = _validation_rows(question.task)
            if question.probe:
                return _Asked(prior, row, 0.0, scored)
            return _Asked(prior, row.without_trial(), None, scored)
    return None


def _nearest_in_size(known: Sequence[Described], rows: int | None) -> Described:
    """Return the features measured at the size that is nearest, as if they were of that size."""
    if rows is None:
        return max(known, key=lambda row: row.train_rows)
    nearest = min(known, key=lambda row: abs(math.log2(row.train_rows / rows)))
    return nearest.with_rows(rows)


def _own_backbone(prior: Prior) -> str:
    """Return the backbone a prior is asked about where none is named."""
    usual = default_backbone(prior.manifest["modality"])
    return usual if usual in prior.manifest.backbones else prior.manifest.backbones[0]


def _describe(question: _Question, opened: Prior | None) -> _Asked:
    """Load what is needed and extract the features."""
    from metaft.backbones.load import load_backbone
    from metaft.prior.describing import describe
    from metaft.tasks.load import ColumnNames, load_task

    task, offline = question.task, question.offline
    if task is None:
        columns = question.columns or ColumnNames()
        task = load_task(question.dataset, columns=columns, offline=offline)
    prior = opened or newest_prior(task.modality, question.backbone, task.kind)
    question.check(prior)
    backbone = load_backbone(question.backbone or _own_backbone(prior), offline=offline)
    rows = question.rows or len(task.train)
    row = describe(task, backbone, rows)
    scored = _validation_rows(task)
    if not question.probe:
        return _Asked(prior, row, None, scored)
    began = time.perf_counter()
    row = describe(task, backbone, rows, with_trial=True)
    return _Asked(prior, row, time.perf_counter() - began, scored)


def _validation_rows(task: Task | None) -> int:
    """Return the rows that `metaft finetune` scores after every epoch, as far as is known."""
    from metaft.tasks.split import MAX_VALIDATION_ROWS

    return VALIDATION_ROWS if task is None else min(len(task.validation), MAX_VALIDATION_ROWS)


def _notes_on(row: Described, *, probe: bool) -> list[str]:
    """Say where a probe was asked for and told nothing."""
    if not probe or row.is_probed:
        return []
    return ["the trial steps told nothing (fewer than 8 training rows, or too little memory)"]
