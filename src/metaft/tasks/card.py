"""Task cards: what metaft knows about a dataset before reading it, one YAML file each."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from metaft.errors import TaskError
from metaft.files import shipped_folder
from metaft.tasks.task import Kind, Metric, Modality


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """What is known about one dataset.

    Attributes:
        name: `glue/sst2`; the card's file is `glue__sst2.yaml`.
        kind: What is predicted from what.
        modality: `text` or `image`.
        metric: The primary metric.
        domain: A few words on where the rows come from.
        language: ISO 639-1 code, `multi`, or empty for images.
        licence: Of the data, as its source states it.
        source: Where the rows of mirror and bundle were taken from.
        description: What else a user should know.
        label_names: Class number -> name; empty for a regression and where unknown.
        hub_id: `owner/name` on the hub; None where it is not to be had there.
        hub_config: Configuration on the hub.
        revision: Branch, tag or commit on the hub.
        columns: Role -> column on the hub; mirror and bundle name columns by their role.
        splits: Our split -> the hub's split, where they differ.
        shares_texts: Tasks that hold some of the same texts.
        same_domain: Tasks of the same domain.
        bundled: Whether a part of it ships with metaft.
        mirror_folder: Folder below `METAFT_DATA`; None where the mirror lacks it.
        baseline_score: Test accuracy (Pearson's r) of a linear model on TF-IDF or pixels.
    """

    name: str
    kind: Kind
    modality: Modality
    metric: Metric
    domain: str
    licence: str
    source: str
    language: str = ""
    description: str = ""
    label_names: tuple[str, ...] = ()
    hub_id: str | None = None
    hub_config: str | None = None
    revision: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    shares_texts: tuple[str, ...] = ()
    same_domain: tuple[str, ...] = ()
    bundled: bool = False
    mirror_folder: str | None = None
    baseline_score: float | None = None

    def to_mapping(self) -> dict[str, Any]:
        """Return every field as plain values, in order, for YAML, JSON or a table."""
        values = dataclasses.asdict(self)
        return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}


def cards_folder() -> Path:
    """Return the folder of the task cards that ship with metaft."""
    return shipped_folder("tasks")


@cache
def load_cards(folder: Path | None = None) -> dict[str, TaskCard]:
    """Read every task card.

    Args:
        folder: Folder of `*.yaml`; the shipped one by default.

    Returns:
        Name -> card, sorted by name. The same object each time: do not change it.

    Raises:
        TaskError: If a card cannot be read, or has an unknown, missing or wrong field.
    """
    paths = sorted((folder or cards_folder()).glob("*.yaml"))
    cards = [read_card(path) for path in paths]
    return {card.name: card for card in sorted(cards, key=lambda card: card.name)}


def read_card(path: Path) -> TaskCard:
    """Read one task card.

    Raises:
        TaskError: If it cannot be read, or has an unknown, missing or wrong field.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TaskError(f"the task card {path} cannot be read: {error}", "Correct it") from error
    if not isinstance(values, dict):
        raise TaskError(
            f"the task card {path} holds {type(values).__name__}, not fields of a card",
            "Write one `field: value` per line",
        )
    _check_fields(path, values)
    card = TaskCard(**{name: _frozen(value) for name, value in values.items()})
    expected = card_file_name(card.name)
    if path.name != expected:
        raise TaskError(
            f"the task card {path} is named {card.name!r}, which belongs into {expected}",
            "Rename the file or correct `name`",
        )
    return card


def card_file_name(name: str) -> str:
    """Return the file name of a task's card."""
    return f"{folder_name(name)}.yaml"


def folder_name(name: str) -> str:
    """Return a task's folder name in mirror and bundle: `glue/sst2` -> `glue__sst2`."""
    return name.replace("/", "__")


def relatives_of(name: str) -> frozenset[str]:
    """Return the tasks that share texts or a domain with the given one, itself excluded."""
    return _related(name, lambda card: (*card.shares_texts, *card.same_domain))


def sharing_texts_with(name: str) -> frozenset[str]:
    """Return the tasks that hold some of the same texts, the task itself excluded."""
    return _related(name, lambda card: card.shares_texts)


def _related(name: str, named_by: typing.Callable[[TaskCard], Iterable[str]]) -> frozenset[str]:
    """Collect what a card names and which cards name it: relatives are mutual."""
    cards = load_cards()
    named = set(named_by(cards[name])) if name in cards else set()
    naming = {card.name for card in cards.values() if name in named_by(card)}
    return frozenset((named | naming) - {name})


def _check_fields(path: Path, values: Mapping[str, Any]) -> None:
    unknown = [name for name in values if name not in _TYPES]
    if unknown:
        raise TaskError(
            f"the task card {path} has the unknown field {unknown[0]!r}; "
            f"the fields are {', '.join(_TYPES)}",
            "Correct the name or remove the field",
        )
    missing = [name for name in _REQUIRED if name not in values]
    if missing:
        raise TaskError(
            f"the task card {path} lacks the field {missing[0]!r}", "Add it to the card"
        )
    for name, value in values.items():
        if not _fits(name, value):
            raise TaskError(
                f"the task card {path} has {name}: {value!r}; allowed is {_allowed(name)}",
                "Correct the value",
            )


def _fits(name: str, value: Any) -> bool:
    """Say whether a value read from YAML fits the field's type."""
    kind = _TYPES[name]
    if name in _CHOICES:
        return value in _CHOICES[name]
    if name in _LISTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if name in _KEYS:
        return isinstance(value, dict) and all(
            key in _KEYS[name] and isinstance(item, str) for key, item in value.items()
        )
    if name == "baseline_score":
        return value is None or (isinstance(value, int | float) and -1 <= value <= 1)
    return isinstance(value, kind)


def _allowed(name: str) -> str:
    if name in _CHOICES:
        return f"one of {', '.join(_CHOICES[name])}"
    if name in _LISTS:
        return "a list of texts"
    if name in _KEYS:
        return f"a mapping of {', '.join(_KEYS[name])} to texts"
    if name == "baseline_score":
        return "a number from -1 to 1"
    return "true or false" if name == "bundled" else "a text"


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times faster
_TYPES: dict[str, Any] = typing.get_type_hints(TaskCard)
_REQUIRED = tuple(
    spec.name
    for spec in dataclasses.fields(TaskCard)
    if spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
)
_CHOICES: dict[str, tuple[str, ...]] = {
    "kind": typing.get_args(Kind),
    "modality": typing.get_args(Modality),
    "metric": typing.get_args(Metric),
}
_KEYS = {
    "columns": ("text", "text_pair", "image", "label", "tokens", "question", "context", "answers"),
    "splits": ("train", "validation", "test"),
}
_LISTS = ("label_names", "shares_texts", "same_domain")
