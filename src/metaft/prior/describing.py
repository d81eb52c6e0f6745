"""Describing: the features of every traced block, and of the datasets that will be asked for."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metaft.errors import PriorError
from metaft.features.extract import FEATURES, extract_features
from metaft.features.trial import TRIAL_COSTS, TRIAL_FEATURES
from metaft.files import user_cache_folder, written_beside
from metaft.prior.described import Described
from metaft.prior.table import Block

if TYPE_CHECKING:
    from metaft.backbones.backbone import Backbone
    from metaft.tasks.task import Task
    from metaft.traces.trace import Trace

EXTRACTION_SCHEMA = 2
"""Counts up when a feature is computed differently; features are then extracted anew."""

TRIAL_SCHEMA = 1
"""The same of what trial steps tell."""

OnDescribed = Callable[[Block], None]

_LOGGER = logging.getLogger(__name__)


def describe(
    task: Task, backbone: Backbone, train_rows: int, *, with_trial: bool = False
) -> Described:
    """Extract the features of a task, or take them from this user's cache.

    Args:
        task: As loaded.
        backbone: Pretrained, of its modality.
        train_rows: Training rows of a run; a smaller task gives all it has.
        with_trial: Take trial steps, too.
    """
    train_rows = min(train_rows, len(task.train))
    facts = (task.fingerprint, backbone.fingerprint, train_rows)
    values = _cached(
        (EXTRACTION_SCHEMA, FEATURES, *facts),
        FEATURES,
        lambda: extract_features(task, backbone, train_rows=train_rows),
    )
    if with_trial:
        names = (*TRIAL_FEATURES, *TRIAL_COSTS)
        values |= _cached(
            (TRIAL_SCHEMA, names, *facts),
            names,
            lambda: _take_trial(task, backbone, train_rows),
        )
    return Described(
        task=task.name,
        fingerprint=task.fingerprint,
        kind=task.kind,
        metric=task.metric,
        backbone=backbone.identity,
        train_rows=train_rows,
        values=values,
    )


def describe_all(
    blocks: Sequence[Block],
    *,
    fingerprints: Mapping[str, str],
    with_trial: bool = False,
    offline: bool = False,
    on_described: OnDescribed | None = None,
) -> list[Described]:
    """Load every task and backbone, and extract the features.

    Args:
        blocks: What to describe.
        fingerprints: Task -> fingerprint of the rows that were recorded.
        with_trial: Take trial steps, too.
        offline: Never ask the hub.
        on_described: Called after each block.

    Raises:
        TaskError: If a task cannot be loaded.
        BackboneError: If a backbone cannot be loaded.
        PriorError: If a task's rows are no longer those that were recorded.
    """
    from metaft.backbones.load import load_backbone
    from metaft.tasks.load import load_task

    described = []
    for identity in sorted({block.backbone for block in blocks}):
        backbone = load_backbone(identity, offline=offline)
        for block in (block for block in blocks if block.backbone == identity):
            task = load_task(block.task, offline=offline)
            _check_rows(task, fingerprints)
            described.append(describe(task, backbone, block.train_rows, with_trial=with_trial))
            if on_described:
                on_described(block)
    return described


def describe_outside(trace: Trace) -> Described:
    """Describe the task of a run that metaft did not make: by what its trace says alone."""
    known = {
        "log2_train_rows": math.log2(trace.train_rows),
        "is_regression": float(trace.kind == "regression"),
        "is_pair": float(trace.kind == "pair_classification"),
        "is_image": float(trace.kind == "image_classification"),
    }
    return Described(
        task=trace.task,
        fingerprint=trace.task_fingerprint,
        kind=trace.kind,
        metric=trace.metric,
        backbone=trace.backbone,
        train_rows=trace.train_rows,
        values={name: known.get(name, math.nan) for name in FEATURES},
    )


def target_blocks(targets: Iterable[str], blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks as which target datasets are described.

    They are described on every recorded backbone, at the largest of each group of like sizes
    (sizes that round to the same power of two).
    """
    largest: dict[tuple[str, int], int] = {}
    for block in blocks:
        key = (block.backbone, round(math.log2(block.train_rows)))
        largest[key] = max(block.train_rows, largest.get(key, 0))
    return [
        Block(target, backbone, train_rows)
        for target in targets
        for (backbone, _), train_rows in sorted(largest.items())
    ]


def _check_rows(task: Task, fingerprints: Mapping[str, str]) -> None:
    recorded = fingerprints.get(task.name, task.fingerprint)
    if task.fingerprint != recorded:
        raise PriorError(
            f"the rows of {task.name!r} are not those its traces were recorded on: the "
            f"fingerprint is {task.fingerprint}, recorded was {recorded}",
            "Give the data that were recorded (METAFT_DATA), record the task anew, or leave it out",
        )


def _take_trial(task: Task, backbone: Backbone, train_rows: int) -> dict[str, float]:
    from metaft.features.trial_steps import take_trial

    return take_trial(task, backbone, train_rows=train_rows)


def _cached(
    facts: tuple[object, ...], names: Sequence[str], measure: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """Return what was measured under the same facts before, or measure it."""
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
    path = user_cache_folder() / "features" / f"{key}.json"
    values = _load(path, names)
    if values is None:
        values = measure()
        _save(values, path)
    return values


def _load(path: Path, names: Sequence[str]) -> dict[str, float] | None:
    """Read cached features; None where there are none, or none that make sense."""
    try:
        values = json.loads(path.read_text())
        return {name: math.nan if values[name] is None else float(values[name]) for name in names}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _save(values: Mapping[str, float], path: Path) -> None:
    """Write features to the cache; a cache that cannot be written costs seconds only."""
    plain = {name: None if math.isnan(value) else value for name, value in values.items()}
    try:
        with written_beside(path) as beside:
            beside.write_text(json.dumps(plain))
    except OSError as error:
        _LOGGER.info("the features cannot be cached in %s: %s", path, error)
