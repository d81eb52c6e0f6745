"""Frozen-prefix cache: what frozen blocks give never changes, so compute it once per task.

All runs of one task on one backbone share a cache: the rows are tokenised once, and for each
frozen depth that some recipe asks for, one forward pass of the pretrained backbone gives the
hidden states that every such run trains on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from metaft.backbones.backbone import Backbone, Batch, Examples
from metaft.finetuning.batches import evaluation_batches
from metaft.finetuning.device import Compute
from metaft.recipes import Recipe
from metaft.tasks.task import Split, Task

SplitName = Literal["train", "validation", "test"]

EVALUATION_ROWS = 64
"""Rows per batch of forward passes without gradients."""

DEFAULT_LIMIT_BYTES = 2 << 30


@dataclass(frozen=True, eq=False)
class FrozenStates:
    """The hidden states of one split after one depth.

    Attributes:
        rows: One tensor per row: `(tokens of the row, width)` for text, `(channels, h, w)`
            for images.
    """

    rows: Sequence[Tensor]

    def gather(self, rows: np.ndarray, tokens: int | None) -> Tensor:
        """Stack rows into a batch in float32.

        Args:
            rows: Row numbers.
            tokens: Texts are padded with zeros to so many tokens; None for images.

        Returns:
            `(rows, tokens, width)` or `(rows, channels, h, w)`.
        """
        if tokens is None:
            return torch.stack([self.rows[row] for row in rows]).float()
        padded = torch.zeros(len(rows), tokens, self.rows[0].shape[-1])
        for at, row in enumerate(rows):
            padded[at, : len(self.rows[row])] = self.rows[row]
        return padded


class PrefixCache:
    """Encoded rows and frozen hidden states of one task on one pretrained backbone.

    Args:
        task: Its splits are used as they are (sub-sampled before).
        backbone: Pretrained; never trained itself (runs train copies of it).
        limit_bytes: Hidden states beyond this are computed anew in every run; 0 turns the
            caching of hidden states off (rows are still encoded once).
    """

    def __init__(
        self, task: Task, backbone: Backbone, limit_bytes: int = DEFAULT_LIMIT_BYTES
    ) -> None:
        self.task = task
        self.backbone = backbone
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._examples: dict[tuple[str, int, int], Examples] = {}
        self._states: dict[tuple[str, int, int, int, Compute], FrozenStates] = {}
        self._features: dict[tuple[str, int, int, Compute], Tensor] = {}

    def examples(self, split: SplitName, recipe: Recipe) -> Examples:
        """Return a split's encoded rows."""
        key = (split, recipe.max_length, recipe.image_size)
        if key not in self._examples:
            rows: Split = getattr(self.task, split)
            self._examples[key] = self.backbone.encode(
                rows, max_length=recipe.max_length, image_size=recipe.image_size
            )
        return self._examples[key]

    def features(self, split: SplitName, recipe: Recipe, compute: Compute) -> Tensor:
        """Return the pretrained backbone's pooled features `(rows, width)`, in float32.

        They are small, so they are kept whatever the limit is.
        """
        key = (split, recipe.max_length, recipe.image_size, compute)
        if key not in self._features:
            examples = self.examples(split, recipe)
            features = torch.empty(len(examples), self.backbone.width)
            for rows in evaluation_batches(examples.lengths, EVALUATION_ROWS):
                features[rows] = self._run(examples, rows, compute, None).float().cpu()
            self._features[key] = features
        return self._features[key]

    def states(
        self, split: SplitName, recipe: Recipe, depth: int, compute: Compute
    ) -> FrozenStates | None:
        """Return a split's hidden states after `depth` blocks, or None where they do not fit.

        Args:
            split: Which rows.
            recipe: Says how rows are encoded.
            depth: In [1, backbone.depth - 1].
            compute: Device and precision of the runs that will use them.
        """
        key = (split, recipe.max_length, recipe.image_size, depth, compute)
        if key not in self._states:
            examples = self.examples(split, recipe)
            needed = self._bytes_needed(examples, depth, compute)
            if self.used_bytes + needed > self.limit_bytes:
                return None
            self._states[key] = self._compute_states(examples, depth, compute)
            self.used_bytes += needed
        return self._states[key]

    def _bytes_needed(self, examples: Examples, depth: int, compute: Compute) -> int:
        """Measure the states of one row, and count the tokens of all."""
        shortest = int(examples.lengths.argmin())
        one = self._trimmed_states(examples, np.array([shortest]), depth, compute)[0]
        tokens = examples.lengths.sum() / examples.lengths[shortest]
        return int(one.numel() * one.element_size() * tokens)

    def _compute_states(self, examples: Examples, depth: int, compute: Compute) -> FrozenStates:
        kept: list[Tensor] = [torch.empty(0)] * len(examples)
        for rows in evaluation_batches(examples.lengths, EVALUATION_ROWS):
            states = self._trimmed_states(examples, rows, depth, compute)
            for row, state in zip(rows, states, strict=True):
                kept[row] = state
        return FrozenStates(kept)

    def _trimmed_states(
        self, examples: Examples, rows: np.ndarray, depth: int, compute: Compute
    ) -> list[Tensor]:
        """Return the states of some rows without their padding, in the storage precision."""
        states = self._run(examples, rows, compute, depth).to("cpu", compute.storage_dtype)
        if self.backbone.modality == "image":
            return [state.clone() for state in states]
        lengths = examples.lengths[rows]
        return [state[:length].clone() for state, length in zip(states, lengths, strict=True)]

    @torch.inference_mode()
    def _run(
        self, examples: Examples, rows: np.ndarray, compute: Compute, depth: int | None
    ) -> Tensor:
        """Run the pretrained backbone: the states after a depth, or pooled features (None)."""
        self.backbone.to(compute.device).eval()
        batch = on_device(self.backbone.collate(examples, rows), compute.device)
        with compute.autocast():
            if depth is None:
                features: Tensor = self.backbone(batch)
                return features
            return self.backbone.hidden_states(batch, [depth])[depth]


def on_device(batch: Batch, device: str) -> Batch:
    """Move a batch to a device."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}
