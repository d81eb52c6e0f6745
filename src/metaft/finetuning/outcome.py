"""What one fine-tuning run did: curve, best epoch, costs and status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "diverged", "out_of_memory", "failed"]
Scores = dict[str, float]


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch of the curve.

    Attributes:
        epoch: 1 for the first.
        train_loss: Mean over the epoch's steps.
        validation: Metric -> score on the validation rows.
        test: Metric -> score on the test rows; empty where it was not asked for.
        test_halves: Primary metric on the two fixed halves of the test rows; empty
            likewise, and where there is a single row. An oracle is picked on one half and
            scored on the other.
        train_seconds: Wall time of the epoch's steps.
        evaluation_seconds: Wall time of scoring after it.
    """

    epoch: int
    train_loss: float
    validation: Scores
    test: Scores
    test_halves: tuple[float, ...]
    train_seconds: float
    evaluation_seconds: float


@dataclass(frozen=True, slots=True)
class Costs:
    """What a run cost.

    Attributes:
        wall_seconds: From the first step to the last score.
        cpu_seconds: Of this process, over the same span.
        gpu_seconds: Measured by events on the GPU; None without one.
        peak_memory_mib: Highest resident (CPU) or allocated (GPU) memory of the run, MiB.
        memory_before_mib: The same just before its first step: what the process held already,
            libraries and backbone included. None where it was not measured.
    """

    wall_seconds: float
    cpu_seconds: float
    gpu_seconds: float | None
    peak_memory_mib: float
    memory_before_mib: float | None = None

    def plus(self, other: Costs) -> Costs:
        """Return what both cost, one after the other."""
        on_gpu = [part.gpu_seconds for part in (self, other) if part.gpu_seconds is not None]
        return Costs(
            wall_seconds=self.wall_seconds + other.wall_seconds,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            gpu_seconds=sum(on_gpu) if on_gpu else None,
            peak_memory_mib=max(self.peak_memory_mib, other.peak_memory_mib),
            memory_before_mib=next(
                (part.memory_before_mib for part in (self, other) if part is not NO_COSTS), None
            ),
        )


NO_COSTS = Costs(wall_seconds=0.0, cpu_seconds=0.0, gpu_seconds=None, peak_memory_mib=0.0)
"""What a run costs that has not begun."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run did.

    Attributes:
        status: `ok`, or how it ended early.
        reason: Why, where it is not `ok`.
        curve: One record per finished epoch.
        best_epoch: Epoch of the best primary validation score, the earliest of equals;
            0 where no epoch finished. The returned model is the one after this epoch.
        validation: Scores after the best epoch.
        test: Scores after the best epoch; NaN where memory ran out over the test rows.
        costs: What the run cost.
        epochs_to_95_percent: First epoch whose validation score reaches 95 % of the best.
        precision: The arithmetic that `auto` resolved to.
        device: `cpu` or `cuda`.
    """

    status: Status
    reason: str
    curve: tuple[EpochRecord, ...]
    best_epoch: int
    validation: Scores
    test: Scores
    costs: Costs
    epochs_to_95_percent: int
    precision: str
    device: str
