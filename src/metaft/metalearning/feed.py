"""An episode as an algorithm takes it: one batch per inner step, and the query rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metaft.backbones.backbone import Backbone, Batch, Examples
from metaft.finetuning.prefix_cache import on_device
from metaft.metalearning.settings import MetaSettings
from metaft.tasks.episodes import Episode
from metaft.tasks.task import Split


@dataclass(frozen=True, eq=False)
class LabelledBatch:
    """Rows of one batch.

    Attributes:
        inputs: From `Backbone.collate`.
        labels: `(rows,)` int64 class numbers in [0, ways).
    """

    inputs: Batch
    labels: Tensor


@dataclass(frozen=True, eq=False)
class EpisodeBatches:
    """One episode, encoded and on its device.

    Attributes:
        ways: Number of classes.
        inner: The batch of each inner step, in order.
        query: All query rows.
        task: Name of the task it was cut from.
        classes: The task's class numbers; class `k` of the episode is `classes[k]`.
    """

    ways: int
    inner: tuple[LabelledBatch, ...]
    query: LabelledBatch
    task: str = ""
    classes: tuple[int, ...] = ()


def batch_episode(
    episode: Episode,
    backbone: Backbone,
    settings: MetaSettings,
    rng: np.random.Generator,
) -> EpisodeBatches:
    """Encode an episode and cut its support rows into the batches of the inner loop.

    Args:
        episode: Of the backbone's modality.
        backbone: Encodes the rows; the batches go to its device.
        settings: Gives lengths, batch size and number of inner steps.
        rng: Draws the order of the support rows.
    """
    support = _encode(episode.support, backbone, settings)
    query = _encode(episode.query, backbone, settings)
    inner = tuple(
        _gather(support, episode.support.labels, rows, backbone)
        for rows in _inner_rows(len(episode.support), settings, rng)
    )
    every_query_row = np.arange(len(episode.query))
    return EpisodeBatches(
        ways=episode.ways,
        inner=inner,
        query=_gather(query, episode.query.labels, every_query_row, backbone),
        task=episode.task,
        classes=episode.classes,
    )


def _encode(split: Split, backbone: Backbone, settings: MetaSettings) -> Examples:
    return backbone.encode(split, max_length=settings.max_length, image_size=settings.image_size)


def _inner_rows(count: int, settings: MetaSettings, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the rows of each inner step: shuffled passes over the support rows, cut up."""
    size = min(settings.batch_size, count)
    wanted = size * settings.inner_steps
    passes = [rng.permutation(count) for _ in range(math.ceil(wanted / count))]
    return list(np.concatenate(passes)[:wanted].reshape(settings.inner_steps, size))


def _gather(
    examples: Examples, labels: np.ndarray, rows: np.ndarray, backbone: Backbone
) -> LabelledBatch:
    device = backbone.device.type
    return LabelledBatch(
        inputs=on_device(backbone.collate(examples, rows), device),
        labels=torch.from_numpy(labels[rows]).to(device),
    )
