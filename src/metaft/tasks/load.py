"""load_task: find a dataset, read its rows, check them, and make a Task of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from metaft.errors import TaskError
from metaft.tasks.card import TaskCard, load_cards, relatives_of
from metaft.tasks.columns import RECOGNISED, ColumnNames, Roles, recognise_columns
from metaft.tasks.hub import card_of_hub_id, is_hub_id, read_hub
from metaft.tasks.inputs import (
    drop_empty_texts,
    read_images,
    read_texts,
    refuse_few_rows,
    refuse_long_rows,
)
from metaft.tasks.labels import (
    EncodedLabels,
    encode_labels,
    labelled_tables,
    refuse_lone_examples,
)
from metaft.tasks.local import existing_path, looks_like_path, read_path
from metaft.tasks.mirror import MIRROR_VARIABLE, read_on_disk
from metaft.tasks.questions import asks_questions, read_questions
from metaft.tasks.raw import RawDataset
from metaft.tasks.select import closest_names
from metaft.tasks.separating import separate
from metaft.tasks.tagged import is_tagged, read_tagged
from metaft.tasks.task import Kind, Metric, Split, Task

MOST_MAJORITY = 0.7
"""Share of the training rows that one class may hold before accuracy says too little."""


def load_task(
    dataset: str,
    *,
    columns: ColumnNames = RECOGNISED,
    offline: bool = False,
    seed: int = 0,
) -> Task:
    """Find a dataset and make a Task of it.

    The name of a task card means that task, whatever lies in the working folder: selectors and
    traces give such names, and `./imdb` is a path. A task is looked for as bundled, in the
    mirror named by `METAFT_DATA`, and on the hub; all else as a path, and on the hub. A test or
    validation split that is missing is cut from the training rows;
    `Task.notices` says so, and what else was changed.

    Args:
        dataset: A task's name, a hub id (`owner/name[:config]`), or a path (`read_path`).
        columns: Columns that the user named.
        offline: Never ask the hub; what it gave before is still used.
        seed: Seed of the cuts, >= 0.

    Raises:
        TaskError: If there is no such dataset, or it cannot be used as it is.
    """
    return _build_task(find_dataset(dataset, offline=offline), columns, seed)


def find_dataset(dataset: str, *, offline: bool = False) -> RawDataset:
    """Find a dataset and read its rows, unchecked.

    Args:
        dataset: A task's name, a hub id (`owner/name[:config]`), or a path.
        offline: Never ask the hub; what it gave before is still used.

    Raises:
        TaskError: If there is no such dataset, or it cannot be read.
    """
    card = load_cards().get(dataset)
    path = existing_path(dataset) if card is None else None
    if path is not None:
        return read_path(path)
    card = card or card_of_hub_id(dataset)
    if card is not None:
        return read_on_disk(card) or _from_hub(card, offline)
    if looks_like_path(dataset):
        raise TaskError(f"there is no file or folder {dataset!r}", "Check the path")
    if is_hub_id(dataset):
        return _from_hub_or_close_name(dataset, offline)
    raise _no_such_dataset(dataset)


def _from_hub(card: TaskCard, offline: bool) -> RawDataset:
    if card.hub_id is None:
        raise TaskError(
            f"the task {card.name!r} is neither bundled nor on the hub, and {MIRROR_VARIABLE} "
            f"names no mirror that holds {card.mirror_folder}",
            f"Set {MIRROR_VARIABLE} to such a mirror, or give a path to the data",
        )
    return read_hub(card.name, card=card, offline=offline)


def _from_hub_or_close_name(dataset: str, offline: bool) -> RawDataset:
    """Read a hub id without a card; where that fails it may be a task's name, misspelt."""
    try:
        return read_hub(dataset, offline=offline)
    except TaskError as error:
        close = closest_names(dataset)
        if not close:
            raise
        cure = f"Did you mean {' or '.join(close)}? Otherwise: {error.cure}"
        raise TaskError(error.problem, cure) from error


def _no_such_dataset(dataset: str) -> TaskError:
    close = closest_names(dataset)
    return TaskError(
        f"there is no dataset {dataset!r}: it is no path, no task and no hub id (owner/name)",
        f"Did you mean {', '.join(close)}" if close else "`metaft tasks list` shows the tasks",
    )


def _build_task(raw: RawDataset, named: ColumnNames, seed: int) -> Task:
    if is_tagged(raw, named):
        return read_tagged(raw, named, seed)
    if asks_questions(raw, named):
        return read_questions(raw, named, seed)
    roles = recognise_columns(raw, named)
    tables, notices = _usable_tables(raw, roles)
    labels = _read_labels(raw, tables, roles)
    splits = {
        split: _read_split(raw, split, table, roles, labels.values[split])
        for split, table in tables.items()
    }
    kind = raw.card.kind if raw.card is not None else _kind_of(roles, labels)
    splits, cut_notices = separate(splits, raw.name, seed)
    metric, metric_notices = _choose_metric(raw, kind, splits["train"], labels)
    return Task(
        name=raw.name,
        kind=kind,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        label_names=labels.label_names,
        metric=metric,
        source=raw.source,
        relatives=relatives_of(raw.name),
        notices=(
            *notices,
            *labels.notices,
            *cut_notices,
            *_class_notices(splits["train"], labels),
            *metric_notices,
        ),
    )


def _usable_tables(raw: RawDataset, roles: Roles) -> tuple[dict[str, pa.Table], list[str]]:
    """Leave out splits without labels and rows without text; refuse what is too small."""
    labelled, notices = labelled_tables(raw, roles.inputs, roles.label, "labels")
    tables = {}
    for split, table in labelled.items():
        tables[split], more = _usable_rows(raw, split, table, roles)
        notices += more
    refuse_few_rows(sum(table.num_rows for table in tables.values()), raw.name)
    return tables, notices


def _usable_rows(
    raw: RawDataset, split: str, table: pa.Table, roles: Roles
) -> tuple[pa.Table, list[str]]:
    """Leave out the rows that have no text, or that the hub marks as unlabelled."""
    notices = []
    labelled, unlabelled = _drop_hub_gaps(table, roles.label, raw)
    if unlabelled:
        notices.append(f"{unlabelled} rows of {split} have no label (-1): left out")
    texts = tuple(name for name in (roles.text, roles.text_pair) if name is not None)
    whole, dropped = drop_empty_texts(labelled, texts, _place(raw, split))
    if dropped:
        notices.append(f"{dropped} rows of {split} have no text: left out")
    return whole, notices


def _drop_hub_gaps(table: pa.Table, label: str, raw: RawDataset) -> tuple[pa.Table, int]:
    """Drop rows labelled -1, which is how the hub writes "no label" into a class column."""
    if raw.source != "hub" or label not in raw.class_names:
        return table, 0
    labelled = table[label].fill_null(-1).to_numpy() != -1
    return table.filter(pa.array(labelled)), int(len(labelled) - labelled.sum())


def _read_labels(raw: RawDataset, tables: Mapping[str, pa.Table], roles: Roles) -> EncodedLabels:
    declared = raw.class_names.get(roles.label, ())
    labels = encode_labels(
        {split: table[roles.label] for split, table in tables.items()},
        raw.name,
        class_names=declared or (raw.card.label_names if raw.card is not None else ()),
        regression=None if raw.card is None else raw.card.kind == "regression",
    )
    if roles.image is not None and labels.is_regression:
        raise TaskError(
            f"the labels of {raw.name!r} are decimal numbers, but images are only sorted into "
            "classes",
            "Write the labels as texts or whole numbers, or name another column with "
            "--label-column",
        )
    if raw.card is None:
        refuse_lone_examples(labels, raw.name)
    return labels


def _read_split(
    raw: RawDataset, split: str, table: pa.Table, roles: Roles, labels: np.ndarray
) -> Split:
    place = _place(raw, split)
    if roles.image is not None:
        on_disk = raw.source in ("bundled", "mirror")  # checked when it was built
        images = read_images(table, roles.image, place, decode=not on_disk)
        return Split(labels=labels, images=images)
    refuse_long_rows(table, roles.inputs, place)
    pair = roles.text_pair
    return Split(
        labels=labels,
        texts=read_texts(table, roles.text or "", place),
        text_pairs=None if pair is None else read_texts(table, pair, place),
    )


def _place(raw: RawDataset, split: str) -> str:
    return f"the {split} split of {raw.name!r}" if len(raw.tables) > 1 else repr(raw.name)


def _kind_of(roles: Roles, labels: EncodedLabels) -> Kind:
    if roles.image is not None:
        return "image_classification"
    if labels.is_regression:
        return "regression"
    return "pair_classification" if roles.text_pair is not None else "classification"


def _choose_metric(
    raw: RawDataset, kind: Kind, train: Split, labels: EncodedLabels
) -> tuple[Metric, list[str]]:
    """Return the primary metric, and a notice where it is not the usual one."""
    if raw.card is not None:
        return raw.card.metric, []
    if kind == "regression":
        return "pearson", []
    counts = np.bincount(train.labels)
    share = counts.max() / counts.sum()
    if share <= MOST_MAJORITY:
        return "accuracy", []
    name = labels.label_names[int(counts.argmax())]
    return "macro_f1", [
        f"{share:.0%} of the training rows are {name!r}, so macro F1 is the metric: always "
        "answering that would be nearly as accurate as anything"
    ]


def _class_notices(train: Split, labels: EncodedLabels) -> list[str]:
    """Say which classes cannot be learned."""
    if labels.is_regression:
        return []
    counts = np.bincount(train.labels, minlength=len(labels.label_names))
    unseen = [labels.label_names[number] for number in np.flatnonzero(counts == 0)]
    return [f"{len(unseen)} classes have no training row ({unseen[0]} ...)"] if unseen else []
