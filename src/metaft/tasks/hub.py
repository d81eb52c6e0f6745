"""Datasets on the hub, through `datasets`: pinned, never running code, never waiting long."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from metaft.errors import TaskError
from metaft.tasks.card import TaskCard, load_cards
from metaft.tasks.raw import RawDataset, declared_class_names, tables_by_split, with_train

CONVERTED = "refs/convert/parquet"
"""Where the hub keeps Parquet copies of datasets that need a script of their own."""

_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+(:[\w.+-]+)?$")
_ANSWER_SECONDS = 10
_OFFLINE_VARIABLE = "HF_HUB_OFFLINE"


class HubUnreachableError(TaskError):
    """The hub does not answer."""


def is_hub_id(dataset: str) -> bool:
    """Say whether a name has the form `owner/name` or `owner/name:config`."""
    return _HUB_ID.match(dataset) is not None


def card_of_hub_id(dataset: str) -> TaskCard | None:
    """Return the card of a hub id (`nyu-mll/glue:sst2`), where there is one.

    The configuration may be left out where all cards of that id have the same.
    """
    hub_id, _, config = dataset.partition(":")
    cards = [card for card in load_cards().values() if card.hub_id == hub_id]
    configs = {card.hub_config or "" for card in cards}
    wanted = configs.pop() if len(configs) == 1 and not config else config
    return next((card for card in cards if (card.hub_config or "") == wanted), None)


def hub_is_switched_off() -> bool:
    """Say whether `HF_HUB_OFFLINE` forbids asking the hub."""
    return os.environ.get(_OFFLINE_VARIABLE, "").upper() in ("1", "ON", "YES", "TRUE")


@dataclass(frozen=True)
class _Place:
    """Where a dataset lies on the hub; `commit` is None while the hub is not asked."""

    hub_id: str
    config: str | None
    revision: str | None
    commit: str | None = None

    def arguments(self) -> dict[str, str | None]:
        """Return what `load_dataset` is to be given.

        A Parquet copy has a folder per configuration, which it does not call one.
        """
        known = {"path": self.hub_id, "revision": self.commit or self.revision}
        if self.revision == CONVERTED:
            return {**known, "data_dir": self.config}
        return {**known, "name": self.config}


def resolve_on_hub(hub_id: str, revision: str | None = None) -> tuple[str, tuple[str, ...]]:
    """Ask the hub once, without retrying, what a dataset's revision is.

    Args:
        hub_id: `owner/name`.
        revision: Branch, tag or commit; the default branch where None.

    Returns:
        The commit, and the paths of its files.

    Raises:
        HubUnreachableError: If the hub does not answer within 10 s.
        TaskError: If it has no such dataset or revision for everyone.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        found = HfApi().dataset_info(hub_id, revision=revision, timeout=_ANSWER_SECONDS)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        at_revision = f" at revision {revision!r}" if revision else ""
        raise TaskError(
            f"the hub has no dataset {hub_id!r}{at_revision} that it gives to everyone",
            "Check the name; for a gated or private dataset log in with `hf auth login`",
        ) from error
    except Exception as error:  # each HTTP library has its own connection errors
        raise _unreachable(hub_id, error) from error
    return str(found.sha), tuple(file.rfilename for file in found.siblings or ())


def read_hub(dataset: str, *, card: TaskCard | None = None, offline: bool = False) -> RawDataset:
    """Read a dataset from the hub, or from what the hub gave before.

    Args:
        dataset: `owner/name[:config]`, or the name of a task whose card has a hub id.
        card: The dataset's card, where there is one.
        offline: Never ask the hub.

    Raises:
        TaskError: If the hub cannot be reached, has no such dataset, or the dataset needs code
            of its own.
    """
    hub_id, _, config = dataset.partition(":")
    place = _Place(hub_id, config or None, None)
    if card is not None:
        place = _Place(str(card.hub_id), card.hub_config, card.revision)
    off = offline or hub_is_switched_off()
    with _hub_client(off) as load_dataset:
        parts = _load_or_explain(load_dataset, place if off else _resolved(place), off)
    tables = _tables_by_split(parts, dataset, card)
    return RawDataset(
        name=dataset,
        source="hub",
        tables=tables,
        card=card,
        columns=card.columns if card is not None else {},
        class_names=declared_class_names(tables["train"].schema),
    )


def _resolved(place: _Place) -> _Place:
    """Pin a place to its commit, or to the Parquet copy of a dataset that needs a script."""
    commit, files = resolve_on_hub(place.hub_id, place.revision)
    if place.revision == CONVERTED:
        return replace(place, commit=commit, config=_converted_config(place, files))
    if f"{place.hub_id.split('/')[1]}.py" not in files:
        return replace(place, commit=commit)
    try:
        return _resolved(replace(place, revision=CONVERTED))
    except HubUnreachableError:
        raise
    except TaskError as error:
        raise TaskError(
            f"the hub's dataset {place.hub_id!r} is read by a script of its own, which metaft "
            f"never runs; its Parquet copy does not help: {error.problem}",
            error.cure,
        ) from error


def _converted_config(place: _Place, files: tuple[str, ...]) -> str:
    """Return the configuration of a Parquet copy, which has a folder for each."""
    configs = sorted({file.split("/")[0] for file in files if file.endswith(".parquet")})
    config = configs[0] if place.config is None and len(configs) == 1 else place.config
    if config is None or config not in configs:
        raise TaskError(
            f"the hub's dataset {place.hub_id!r} has the configurations {', '.join(configs)}"
            + (f", not {config!r}" if config else ""),
            f"Name one of them as {place.hub_id}:CONFIG",
        )
    return config


@contextmanager
def _hub_client(off: bool) -> Iterator[Any]:
    """Give `load_dataset`, with the hub switched off inside where it must be.

    The switch is an attribute of both libraries: they read the variable when they are
    imported, which somebody may have done long before.
    """
    import datasets
    from huggingface_hub import constants

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = off
    try:
        yield datasets.load_dataset
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def _load_or_explain(load_dataset: Any, place: _Place, off: bool) -> Mapping[str, pa.Table]:
    """Load every split, or say why not."""
    try:
        return _load_parts(load_dataset, place)
    except ConnectionError as error:
        raise (_not_in_cache(place.hub_id) if off else _unreachable(place.hub_id, error)) from error
    except Exception as error:  # whatever a file of somebody else's makes the reader raise
        raise TaskError(
            f"the hub's dataset {place.hub_id!r} cannot be read: {_one_line(error)}",
            "Name one of its configurations as owner/name:config, or download its files and give "
            "their path",
        ) from error


def _load_parts(load_dataset: Any, place: _Place) -> Mapping[str, pa.Table]:
    """Load every split as the hub names it."""
    import datasets

    loaded = load_dataset(**place.arguments())
    parts = loaded if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    return {str(name): part.with_format("arrow")[:] for name, part in parts.items()}


def _tables_by_split(
    parts: Mapping[str, pa.Table], dataset: str, card: TaskCard | None
) -> dict[str, pa.Table]:
    """Pick the splits the card names, or else those named as train, validation and test."""
    if card is not None and card.splits:
        chosen = {ours: parts[theirs] for ours, theirs in card.splits.items() if theirs in parts}
    else:
        chosen = tables_by_split(parts.items(), dataset)
    return with_train(chosen, dataset)


def _unreachable(hub_id: str, error: BaseException) -> HubUnreachableError:
    return HubUnreachableError(
        f"the hub does not answer ({_one_line(error)}), so {hub_id!r} cannot be fetched",
        "Check the network (HTTPS_PROXY behind a proxy, HF_ENDPOINT for a mirror of the hub), set "
        "METAFT_DATA to a mirror that holds the dataset, or give a path",
    )


def _not_in_cache(hub_id: str) -> TaskError:
    return TaskError(
        f"{hub_id!r} is not on this machine, and the hub may not be asked (--offline or "
        f"{_OFFLINE_VARIABLE})",
        f"Leave out --offline and unset {_OFFLINE_VARIABLE}, set METAFT_DATA to a mirror that "
        "holds the dataset, or give a path",
    )


def _one_line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300].rstrip(".")
