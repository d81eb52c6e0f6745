"""Checking task cards against what their sources hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from metaft.errors import TaskError
from metaft.tasks.card import TaskCard
from metaft.tasks.hub import HubUnreachableError, hub_is_switched_off, resolve_on_hub
from metaft.tasks.load import load_task
from metaft.tasks.mirror import bundled_folder, mirror_folder

Status = Literal["ok", "unreachable", "problem"]


@dataclass(frozen=True)
class CardReport:
    """What checking one card found.

    Attributes:
        name: The task.
        kind: Its kind.
        status: `ok`, `unreachable` (no source can be read from here), or `problem`.
        source: What was read: `bundled`, `mirror`, `hub` (asked, not downloaded), or empty.
        rows: Split -> rows, as a fine-tuning run would get them.
        classes: Number of classes; 0 for a regression and where unknown.
        majority_share: Share of the most frequent class in train, in (0, 1]; None likewise.
        notices: What was left out or cut.
        problem: What is wrong, or why no source can be read.
    """

    name: str
    kind: str
    status: Status
    source: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    classes: int = 0
    majority_share: float | None = None
    notices: tuple[str, ...] = ()
    problem: str = ""


def sources_of(card: TaskCard) -> tuple[str, ...]:
    """Return where a task can be read, in the order it is looked for; the hub is not asked."""
    found = {
        "bundled": bundled_folder(card) is not None,
        "mirror": mirror_folder(card) is not None,
        "hub": card.hub_id is not None,
    }
    return tuple(source for source, there in found.items() if there)


def check_cards(
    cards: Iterable[TaskCard],
    *,
    offline: bool = False,
    on_report: Callable[[CardReport], None] | None = None,
) -> list[CardReport]:
    """Read each card's data where it is reachable, and say what was found.

    What is on disk is loaded as for a fine-tuning run; a dataset that is only on the hub is
    asked for there, not downloaded. Once the hub does not answer it is not asked again.

    Args:
        cards: The cards.
        offline: Never ask the hub.
        on_report: Called with each report as it is made.
    """
    silent_hub = "the hub may not be asked" if offline or hub_is_switched_off() else ""
    reports = []
    for card in cards:
        try:
            report = _check(card, silent_hub)
        except HubUnreachableError:
            silent_hub = "the hub does not answer"
            report = CardReport(card.name, card.kind, "unreachable", problem=silent_hub)
        except TaskError as error:
            report = CardReport(card.name, card.kind, "problem", problem=str(error))
        reports.append(report)
        if on_report is not None:
            on_report(report)
    return reports


def _check(card: TaskCard, silent_hub: str) -> CardReport:
    if bundled_folder(card) is not None or mirror_folder(card) is not None:
        return _check_task(card)
    if card.hub_id is None:
        missing = f"METAFT_DATA names no mirror that holds {card.mirror_folder}"
        return CardReport(card.name, card.kind, "unreachable", problem=missing)
    if silent_hub:
        return CardReport(card.name, card.kind, "unreachable", problem=silent_hub)
    commit, _ = resolve_on_hub(card.hub_id, card.revision)
    found = f"{card.hub_id} at {card.revision} is commit {commit}"
    return CardReport(card.name, card.kind, "ok", source="hub", notices=(found,))


def _check_task(card: TaskCard) -> CardReport:
    """Load a task as a run would."""
    task = load_task(card.name, offline=True)
    splits = {"train": task.train, "validation": task.validation, "test": task.test}
    classes = task.training_classes
    counts = None if classes is None else np.bincount(classes)
    return CardReport(
        card.name,
        card.kind,
        "ok",
        source=task.source,
        rows={split: len(part) for split, part in splits.items()},
        classes=len(task.label_names),
        majority_share=None if counts is None else round(float(counts.max() / counts.sum()), 4),
        notices=task.notices,
    )
