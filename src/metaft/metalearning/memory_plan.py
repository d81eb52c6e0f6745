"""How much memory a meta-training takes, measured on one inner step before the first one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from metaft.metalearning.algorithm import MetaAlgorithm
from metaft.metalearning.feed import EpisodeBatches, LabelledBatch
from metaft.metalearning.second_order import twice_differentiable

_MEMINFO = Path("/proc/meminfo")
_MIB = 1 << 20
_BACKWARD_STEPS = 1.5
"""What a pass back takes beside the graphs that are kept, in graphs of one inner step. Chosen to
fit what MiniLM took (docs/meta-learning.md)."""

_SECOND_BACKWARD_STEPS = 1.0
"""What the way back through a single step takes more when that step is computed for it."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What a meta-training is expected to take beyond what the process holds already.

    Attributes:
        step_mib: Of the graph of one inner step, on the batch with the most tokens.
        weights_mib: Of one copy of the weights that learn.
        whole_mib: Of an episode whose inner steps are all kept.
        checkpointed_mib: Of an episode whose inner steps are computed again on the way back.
        available_mib: Memory that is free; None where that cannot be told.
        is_checkpointing: Whether the steps are computed again.
    """

    step_mib: float
    weights_mib: float
    whole_mib: float
    checkpointed_mib: float
    available_mib: float | None
    is_checkpointing: bool

    @property
    def expected_mib(self) -> float:
        """Memory of the way that is taken."""
        return self.checkpointed_mib if self.is_checkpointing else self.whole_mib


def plan_memory(algorithm: MetaAlgorithm, episodes: Iterable[EpisodeBatches]) -> MemoryPlan:
    """Measure one inner step, add up, and switch checkpointing on where memory is short.

    Args:
        algorithm: Its `is_checkpointing` is set where the settings leave that open.
        episodes: Some that are typical; the largest of their batches is measured.
    """
    largest = max(episodes, key=_largest_size)
    step_mib = _graph_mib(algorithm, largest)
    weights_mib = sum(w.numel() * w.element_size() for w in algorithm.weights.values()) / _MIB
    steps = algorithm.settings.inner_steps
    copies = weights_mib * (steps + 4)  # One per step, the gradient twice, and Adam's moments.
    query_share = len(largest.query.labels) / max(1, len(largest.inner[0].labels))
    kept_steps = 1 if algorithm.is_first_order else steps
    whole = step_mib * (kept_steps + query_share + _BACKWARD_STEPS) + copies
    single = max(1.0, query_share) + _BACKWARD_STEPS + _SECOND_BACKWARD_STEPS
    checkpointed = step_mib * single + copies
    available = _available_mib(algorithm.compute.device)
    _settle_checkpointing(algorithm, whole, available)
    return MemoryPlan(
        step_mib, weights_mib, whole, checkpointed, available, algorithm.is_checkpointing
    )


def _settle_checkpointing(
    algorithm: MetaAlgorithm, whole_mib: float, available_mib: float | None
) -> None:
    settings = algorithm.settings
    if settings.is_second_order and settings.checkpointing == "auto":
        algorithm.is_checkpointing = available_mib is not None and whole_mib > available_mib


def _largest_size(episode: EpisodeBatches) -> int:
    return max(_size(batch) for batch in episode.inner)


def _size(batch: LabelledBatch) -> int:
    """Return the numbers that go in: rows times padded tokens, or pixels."""
    return max(value.numel() for value in batch.inputs.values())


def _graph_mib(algorithm: MetaAlgorithm, episode: EpisodeBatches) -> float:
    """Measure what one inner step keeps for differentiating (twice) through it."""
    batch = max(episode.inner, key=_size)
    held = _Held(algorithm.backbone.parameters())
    classifier = algorithm.fresh_classifier(episode)
    weights = [weight for weight in classifier.parameters() if weight.requires_grad]
    with twice_differentiable(), saved_tensors_hooks(held.pack, held.unpack):
        loss = algorithm.loss(classifier, batch)
        if algorithm.settings.is_second_order:
            torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
    return held.bytes / _MIB


class _Held:
    """Counts the memory of the tensors that a graph keeps, each storage once.

    Attributes:
        bytes: Of all storages but those of the parameters.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._known = {value.untyped_storage().data_ptr() for value in parameters}
        self._kept: list[Any] = []  # Alive, so that no place in memory is used twice.
        self.bytes = 0

    def pack(self, tensor: Tensor) -> Tensor:
        """Count a tensor that is saved."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._known.add(storage.data_ptr())
            self._kept.append(storage)
            self.bytes += storage.nbytes()
        return tensor

    @staticmethod
    def unpack(tensor: Tensor) -> Tensor:
        """Give it back as it is."""
        return tensor


def _available_mib(device: str) -> float | None:
    """Return the memory that is free on a device; None where the system does not tell."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0] / _MIB
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) / 1024
    except (OSError, KeyError, ValueError):
        return None
