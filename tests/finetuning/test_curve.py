from __future__ import annotations

from metaft.finetuning.curve import best_epoch_of, epochs_to_share
from metaft.finetuning.outcome import EpochRecord


def _records(*scores: float) -> list[EpochRecord]:
    return [
        EpochRecord(at, 0.0, {"accuracy": score}, {}, (), 0.0, 0.0)
        for at, score in enumerate(scores, start=1)
    ]


def test_the_best_epoch_is_the_earliest_of_equals() -> None:
    assert best_epoch_of(_records(0.5, 0.8, 0.8, 0.7), "accuracy") == 2
    assert best_epoch_of([], "accuracy") == 0


def test_epochs_to_a_share_of_the_best() -> None:
    curve = _records(0.5, 0.77, 0.8, 0.7)
    assert epochs_to_share(curve, "accuracy", 0.95) == 2
    assert epochs_to_share(curve, "accuracy", 1.0) == 3
    assert epochs_to_share([], "accuracy", 0.95) == 0
