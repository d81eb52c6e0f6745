"""extract_features: a fixed-length description of a task and a backbone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from metaft.errors import TaskError
from metaft.features.dataset import DATASET_FEATURES, STATISTICS_ROWS, describe_dataset
from metaft.features.probe import PROBE_FEATURES, probe
from metaft.tasks.split import subsample

if TYPE_CHECKING:
    from metaft.backbones.backbone import Backbone
    from metaft.tasks.task import Task

BACKBONE_FEATURES: dict[str, str] = {
    "backbone_depth": "blocks of the backbone",
    "backbone_log2_width": "log2 of the size of its pooled features",
    "backbone_log10_parameters": "log10 of its parameters",
}

MEANINGS: dict[str, str] = {**DATASET_FEATURES, **BACKBONE_FEATURES, **PROBE_FEATURES}
"""Feature -> what it means."""

FEATURES: tuple[str, ...] = tuple(MEANINGS)
"""Names of the features, in the order of the vector."""


def extract_features(task: Task, backbone: Backbone, *, train_rows: int) -> dict[str, float]:
    """Describe what a run with so many training rows would start from.

    Takes one frozen forward pass over at most 1,000 training rows; validation and test rows
    are not looked at.

    Args:
        task: As loaded.
        backbone: Pretrained, of the task's modality; runs where its weights are.
        train_rows: Training rows of the run, >= 1; a smaller task gives all it has.

    Returns:
        Feature -> value for every name in `FEATURES`, NaN where it is unknown.

    Raises:
        TaskError: If the backbone's modality is not the task's.
    """
    if backbone.modality != task.modality:
        raise TaskError(
            f"{task.name!r} is a task of {task.modality}s, but the backbone "
            f"{backbone.identity!r} takes {backbone.modality}s",
            f"Choose a backbone for {task.modality}s",
        )
    rows = subsample(task, train_rows=train_rows)
    # The first rows of a sample are a smaller sample; those of a file may be of one class.
    sample = subsample(task, train_rows=min(train_rows, STATISTICS_ROWS)).train
    found = {
        **describe_dataset(rows, backbone, sample=sample),
        **describe_backbone(backbone),
        **probe(rows, backbone),
    }
    return {name: found.get(name, math.nan) for name in FEATURES}


def describe_backbone(backbone: Backbone) -> dict[str, float]:
    """Describe a backbone; see `BACKBONE_FEATURES`."""
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    return {
        "backbone_depth": float(backbone.depth),
        "backbone_log2_width": math.log2(backbone.width),
        "backbone_log10_parameters": math.log10(parameters),
    }
