"""Selectors: which tasks an option such as `--tasks 'glue/*,-glue/cola'` means."""

from __future__ import annotations

import difflib
import typing
from fnmatch import fnmatchcase

from metaft.errors import TaskError
from metaft.tasks.card import TaskCard, load_cards, sharing_texts_with
from metaft.tasks.task import Modality

TARGETS: frozenset[str] = frozenset(
    {"ag_news", "imdb", "squad", "conll2003", "cifar10", "fashion_mnist"}
)
"""What metaft is judged on: never among a shipped prior's training tasks."""

_GROUPS: dict[str, typing.Callable[[TaskCard], bool]] = {
    "all": lambda card: card.bundled or card.mirror_folder is not None,
    "bundled": lambda card: card.bundled,
    "mirror": lambda card: card.mirror_folder is not None,
}


def select_tasks(selector: str, *, modality: Modality | None = None) -> list[str]:
    """Return the names of the tasks that a selector means.

    Args:
        selector: Comma-separated terms: a name, a glob (`glue/*`), `bundled`, `mirror`,
            `all` (both), `kind:classification`; a `-` before a term takes its tasks away.
            Targets (`TARGETS`) are only selected by their full names.
        modality: Keep only `text` or `image` tasks.

    Returns:
        Names, at least one, in the order of the terms; those of one term are sorted.

    Raises:
        TaskError: For a term that means no task, or if nothing is left.
    """
    chosen: dict[str, None] = {}  # a set that keeps its order
    terms = [term.strip() for term in selector.split(",") if term.strip()]
    for term in (term for term in terms if not term.startswith("-")):
        chosen |= dict.fromkeys(sorted(_meant_by(term)))
    for term in (term for term in terms if term.startswith("-")):
        for name in _meant_by(term[1:], with_targets=True):
            chosen.pop(name, None)
    cards = load_cards()
    names = [name for name in chosen if modality in (None, cards[name].modality)]
    if not names:
        raise TaskError(
            f"the selector {selector!r} selects no task"
            + (f" of modality {modality}" if modality else ""),
            "Give names, globs, bundled, mirror, all or kind:KIND; "
            "`metaft tasks list` shows the names",
        )
    return names


def forbidden_in_shipped_priors(name: str) -> bool:
    """Say whether a task is a target or shares texts with one."""
    return name in TARGETS or bool(sharing_texts_with(name) & TARGETS)


def closest_names(name: str, count: int = 3) -> list[str]:
    """Return the names of cards that look most like a name without a card."""
    return difflib.get_close_matches(name, list(load_cards()), n=count, cutoff=0.6)


def card_named(name: str) -> TaskCard:
    """Return the card of a task.

    Raises:
        TaskError: If there is none, with the closest names.
    """
    cards = load_cards()
    if name not in cards:
        raise _no_such_task(name)
    return cards[name]


def _meant_by(term: str, *, with_targets: bool = False) -> set[str]:
    """Return the tasks one term means."""
    cards = load_cards()
    if term in cards:
        return {term}
    if term in _GROUPS:
        met = {name for name, card in cards.items() if _GROUPS[term](card)}
    elif term.startswith("kind:"):
        met = {name for name, card in cards.items() if card.kind == term.removeprefix("kind:")}
    else:
        met = {name for name in cards if fnmatchcase(name, term)}
    if not met:
        raise _no_such_task(term)
    if with_targets:
        return met
    return met - TARGETS


def _no_such_task(term: str) -> TaskError:
    close = closest_names(term)
    return TaskError(
        f"there is no task {term!r}",
        f"Did you mean {', '.join(close)}" if close else "`metaft tasks list` shows the names",
    )
