"""Fallbacks: what an answer could not use, and what it used instead."""

from __future__ import annotations

import math

from metaft.prior.calibration import Calibration
from metaft.prior.described import Described
from metaft.prior.manifest import Manifest
from metaft.prior.outlook import Outlook

_SIZE_TOLERANCE = 0.5  # log2 of the ratio of two train sizes that count as the same


def fallbacks_of(
    manifest: Manifest, row: Described, outlook: Outlook, calibration: Calibration
) -> list[str]:
    """Say what the prior had to do without."""
    elsewhere = never_recorded(manifest, row)
    said = [*elsewhere, *_kind_unknown(manifest, row), *_untrusted(outlook, calibration)]
    if elsewhere and math.isnan(calibration.relative_width_elsewhere):
        said.append("how sure the predictions are there was not measured")
    if elsewhere and math.isinf(calibration.relative_width_elsewhere):
        said.append(
            "too few tasks tell how sure they are there, so the interval is the whole range"
        )
    if math.isinf(calibration.relative_width):
        said.append(
            f"{len(manifest['tasks'])} training tasks are too few for a 90 % interval, so it is "
            "the whole range"
        )
    unknown = unknown_costs(outlook)
    if unknown:
        said.append(f"no trace tells what a run takes of {' and '.join(unknown)}: 0 is unknown")
    return said


def never_recorded(manifest: Manifest, row: Described) -> list[str]:
    """Say whether the backbone or the size of the asked run was never recorded."""
    said = []
    if row.backbone not in manifest.backbones:
        said.append(
            f"nothing was recorded on {row.backbone}; recipes are ranked by what they did on "
            f"{', '.join(manifest.backbones)}"
        )
    sizes = manifest["train_rows"]
    nearest = min(sizes, key=lambda size: abs(math.log2(size / row.train_rows)))
    if abs(math.log2(nearest / row.train_rows)) > _SIZE_TOLERANCE:
        said.append(
            f"asked for {row.train_rows:,} training rows, the nearest recorded are {nearest:,}"
        )
    return said


def _kind_unknown(manifest: Manifest, row: Described) -> list[str]:
    """Say whether no training task is of the asked kind, or judged as it is."""
    if row.kind not in manifest.kinds:
        kinds = ", ".join(sorted(manifest.kinds))
        said = f"no training task is of the kind {row.kind}; recorded are {kinds}"
        if is_of_another_sort(manifest, row):
            said += (
                ", so recipes are ranked by their average over these, and how high "
                f"{row.metric} will be is not known"
            )
        return [said]
    if row.metric not in manifest["metrics"]:
        metrics = ", ".join(manifest["metrics"])
        return [
            f"no training task is judged by {row.metric}; recorded is {metrics}, and the expected "
            "score is as if it were that"
        ]
    return []


def longer_than_recorded(recorded: int, tokens: int) -> list[str]:
    """Say where texts are cut later than in the recorded runs."""
    if tokens <= recorded:
        return []
    return [
        f"the recorded runs cut texts at {recorded} tokens, this one at {tokens}, since these are "
        "longer: its score is predicted as if it cut them likewise"
    ]


def is_of_another_sort(manifest: Manifest, row: Described) -> bool:
    """Say whether nothing recorded tells how high the scores of a task will be."""
    return row.kind not in manifest.kinds and row.metric not in manifest["metrics"]


def _untrusted(outlook: Outlook, calibration: Calibration) -> list[str]:
    """Say where what is pooled without features stands in for the model."""
    if calibration.weight == 0.0:
        return [
            "on left-out tasks the features told nothing of the recipes, so these are ranked by "
            "their average over the training tasks"
        ]
    weight = calibration.weight_at(outlook.distance)
    if weight == calibration.weight:
        return []
    return [
        f"the nearest training task is {outlook.distance:.1f} deviations away, farther than "
        f"left-out tasks were ({calibration.near:.1f}), so the model counts for "
        f"{weight:.0%} and the average over the training tasks for the rest"
    ]


def unknown_costs(outlook: Outlook) -> list[str]:
    """Return the costs that no trace told: their prices are 0, and so is every prediction."""
    costs = {"time": outlook.run_seconds, "memory": outlook.peak_memory_mib}
    return [name for name, predicted in costs.items() if not predicted.any()]
