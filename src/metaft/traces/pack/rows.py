"""Rows of a task as arrays: encoded, in the smallest types that hold them, and back again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from metaft.backbones.backbone import Backbone, EncodedSplit, Examples
from metaft.tasks.split import sampled_rows, subsample
from metaft.tasks.task import Task
from metaft.traces.pack.manifest import PackedTask
from metaft.traces.trace import TEST_ROWS, VALIDATION_ROWS

Arrays = dict[str, np.ndarray]
Encoding = tuple[int, int]  # tokens, pixels

_PIXELS = "pixels"


def arrays_of(
    task: Task,
    backbone: Backbone,
    samples: Iterable[tuple[int, int]],
    encodings: Iterable[Encoding],
) -> Arrays:
    """Encode the rows that runs use, each row once.

    Args:
        task: As loaded.
        backbone: Encodes the rows.
        samples: (training rows, seed) of the runs.
        encodings: (tokens, pixels) of the runs.

    Returns:
        Name -> array: `SPLIT.labels`; `SPLIT.TOKENS.PIXELS.COLUMN` and `.lengths`;
        `sample.ROWS.SEED`, the numbers of a sample's rows within the packed training rows.
    """
    chosen = {sample: sampled_rows(task.train, *sample) for sample in samples}
    packed = np.unique(np.concatenate(list(chosen.values())))
    arrays = {
        f"sample.{rows}.{seed}": _narrowed(np.searchsorted(packed, numbers))
        for (rows, seed), numbers in chosen.items()
    }
    held_out = subsample(
        task, train_rows=None, validation_rows=VALIDATION_ROWS, test_rows=TEST_ROWS
    )
    splits = {
        "train": task.train.take(packed),
        "validation": held_out.validation,
        "test": held_out.test,
    }
    for name, split in splits.items():
        arrays[f"{name}.labels"] = _narrowed(split.labels)
        for tokens, pixels in encodings:
            examples = backbone.encode(split, max_length=tokens, image_size=pixels)
            arrays |= _flat(examples, f"{name}.{tokens}.{pixels}")
    return arrays


def task_from(arrays: Mapping[str, np.ndarray], packed: PackedTask, sample: Encoding) -> Task:
    """Rebuild the task with the rows of one sample: what `subsample` gives of the whole one."""
    train = _split_from(arrays, "train", packed)
    rows, seed = sample
    return Task(
        name=packed.name,
        kind=packed.kind,
        train=train.take(arrays[f"sample.{rows}.{seed}"]),
        validation=_split_from(arrays, "validation", packed),
        test=_split_from(arrays, "test", packed),
        label_names=packed.label_names,
        metric=packed.metric,
        source="pack",
    )


def _flat(examples: Examples, prefix: str) -> Arrays:
    """Lay ragged columns end to end; images are one array as they are."""
    arrays = {f"{prefix}.lengths": _narrowed(examples.lengths)}
    for name, column in examples.columns.items():
        values = column.numpy() if isinstance(column, Tensor) else _narrowed(np.concatenate(column))
        arrays[f"{prefix}.{name}"] = values
    return arrays


def _split_from(arrays: Mapping[str, np.ndarray], split: str, packed: PackedTask) -> EncodedSplit:
    labels = arrays[f"{split}.labels"]
    return EncodedSplit(
        labels=labels if labels.dtype.kind == "f" else labels.astype(np.int64),
        encodings={
            (tokens, pixels): _examples_from(arrays, f"{split}.{tokens}.{pixels}.")
            for tokens, pixels in packed.encodings
        },
    )


def _examples_from(arrays: Mapping[str, np.ndarray], prefix: str) -> Examples:
    found = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    lengths = found.pop("lengths").astype(np.int64)
    if _PIXELS in found:
        return Examples(columns={_PIXELS: torch.from_numpy(found[_PIXELS])}, lengths=lengths)
    cuts = np.cumsum(lengths)[:-1]
    columns = {name: np.split(flat.astype(np.int32), cuts) for name, flat in found.items()}
    return Examples(columns=columns, lengths=lengths)


def _narrowed(values: np.ndarray) -> np.ndarray:
    """Keep whole numbers >= 0 in the smallest type; targets of a regression stay as they are."""
    if values.dtype.kind == "f":
        return values
    return values.astype(np.min_scalar_type(values.max(initial=0)))
