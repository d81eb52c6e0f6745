"""What is read off the curve of a run."""

from __future__ import annotations

from collections.abc import Sequence

from metaft.finetuning.outcome import EpochRecord


def best_epoch_of(curve: Sequence[EpochRecord], metric: str) -> int:
    """Return the epoch of the best validation score, the earliest of equals; 0 for no curve."""
    if not curve:
        return 0
    scores = [record.validation[metric] for record in curve]
    return curve[scores.index(max(scores))].epoch


def epochs_to_share(curve: Sequence[EpochRecord], metric: str, share: float) -> int:
    """Return the first epoch whose validation score reaches a share of the best; 0 for none."""
    if not curve:
        return 0
    best = max(record.validation[metric] for record in curve)
    return next(r.epoch for r in curve if r.validation[metric] >= share * best or best <= 0)
