"""Frozen-prefix cache: what frozen blocks give never changes, so compute it once per task.

All runs of one task on one backbone share a cache: the rows are tokenised once, and one
forward pass of the pretrained backbone gives the hidden states at every depth that some of the
runs freezes, which these runs then train on.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from metaft.backbones.backbone import Backbone, Batch, Examples
from metaft.finetuning.batches import evaluation_batches
from metaft.finetuning.device import Compute
from metaft.finetuning.freezing import prefixes_of
from metaft.finetuning.frozen_states import FrozenStates, Room, StatesWriter
from metaft.recipes import Recipe
from metaft.tasks.task import Split, Task

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

DEFAULT_LIMIT_BYTES = 2 << 30

_Encoding = tuple[SplitName, int, int]  # split, tokens, pixels
_Depth = tuple[_Encoding, Compute, int]

_LOGGER = logging.getLogger(__name__)


class PrefixCache:
    """Encoded rows and frozen hidden states of one task on one pretrained backbone.

    Args:
        task: Its splits are used as they are (sub-sampled before).
        backbone: Pretrained; never trained itself (runs train copies of it).
        limit_bytes: Hidden states beyond this lie in a temporary file instead of in memory;
            0 turns the caching of hidden states off (rows are still encoded once), None is
            `DEFAULT_LIMIT_BYTES`.
        recipes: Those that will be run: one forward pass then serves all of them. A recipe
            that is not among them takes another pass.
    """

    def __init__(
        self,
        task: Task,
        backbone: Backbone,
        limit_bytes: int | None = None,
        recipes: Sequence[Recipe] = (),
    ) -> None:
        self.task = task
        self.backbone = backbone
        self.limit_bytes = DEFAULT_LIMIT_BYTES if limit_bytes is None else limit_bytes
        self.room = Room(self.limit_bytes)
        self._recipes = tuple(recipes)
        self._examples: dict[_Encoding, Examples] = {}
        self._states: dict[_Depth, FrozenStates | None] = {}
        self._features: dict[_Depth, Tensor] = {}
        self._encoding_seconds: dict[_Encoding, float] = {}
        self._pass_seconds: dict[_Depth, float] = {}

    def serves(self, split: SplitName, recipe: Recipe) -> bool:
        """Say whether runs of a recipe read a split's frozen states instead of computing them.

        The only place where this is decided. It holds where the inputs of the frozen blocks
        are the same in every epoch: not of the rows that augmentation changes.
        """
        if split == "train" and recipe.augmentations:
            return False
        return self.limit_bytes > 0 and bool(prefixes_of(recipe, self.backbone.depth))

    def prepare(self, recipe: Recipe, compute: Compute) -> float:
        """Fill in what runs of a recipe read.

        Returns:
            Wall seconds that this takes a run by itself, whichever run has really spent them.
            Of a pass that went deeper for the sake of other runs, the share of the blocks
            that this one needs.
        """
        seconds = 0.0
        for split in SPLITS:
            self.examples(split, recipe)
            encoding = _encoding(split, recipe)
            depths = self._depths_read(split, recipe)
            for depth in depths:
                self._fill(split, recipe, depth, compute)
            passes = (self._pass_seconds.get((encoding, compute, depth), 0.0) for depth in depths)
            seconds += self._encoding_seconds[encoding] + max(passes, default=0.0)
        return seconds

    def examples(self, split: SplitName, recipe: Recipe) -> Examples:
        """Return a split's encoded rows."""
        key = _encoding(split, recipe)
        if key not in self._examples:
            began = time.perf_counter()
            rows: Split = getattr(self.task, split)
            self._examples[key] = self.backbone.encode(
                rows, max_length=recipe.max_length, image_size=recipe.image_size
            )
            self._encoding_seconds[key] = time.perf_counter() - began
        return self._examples[key]

    def features(self, split: SplitName, recipe: Recipe, compute: Compute) -> Tensor:
        """Return the pretrained backbone's pooled features `(rows, width)`, on the CPU.

        They are small, so they are kept whatever the limit is.
        """
        self._fill(split, recipe, self.backbone.depth, compute)
        return self._features[_encoding(split, recipe), compute, self.backbone.depth]

    def states(
        self, split: SplitName, recipe: Recipe, depth: int, compute: Compute
    ) -> FrozenStates | None:
        """Return a split's hidden states after `depth` blocks, or None where they cannot be kept.

        Args:
            split: Which rows.
            recipe: Says how rows are encoded.
            depth: In [1, backbone.depth]; the last one only where the head is one for tokens.
            compute: Device and precision of the runs that will use them.
        """
        self._fill(split, recipe, depth, compute)
        return self._states[_encoding(split, recipe), compute, depth]

    def _depths_read(self, split: SplitName, recipe: Recipe) -> set[int]:
        """Return the depths that runs of a recipe read; the last one is that of the features."""
        depths = set()
        if self.serves(split, recipe):
            depths |= prefixes_of(recipe, self.backbone.depth)
        is_pooled = not self.task.is_by_token  # Tokens are probed in a pass of their own.
        if recipe.head_init == "linear_probe" and split == "train" and is_pooled:
            depths.add(self.backbone.depth)
        return depths

    def _fill(self, split: SplitName, recipe: Recipe, depth: int, compute: Compute) -> None:
        """Fill in a depth, and with the same pass all others that will be wanted."""
        encoding = _encoding(split, recipe)
        if self._is_filled((encoding, compute, depth)):
            return
        examples = self.examples(split, recipe)
        alike = [other for other in self._recipes if _are_alike(other, recipe)]
        wanted = {depth}.union(*(self._depths_read(split, other) for other in alike))
        depths = {at for at in wanted if not self._is_filled((encoding, compute, at))}
        began = time.perf_counter()
        is_by_token = self.task.is_by_token
        done = _Pass(self.backbone, examples, compute, depths, self.room, is_by_token=is_by_token)
        done.run()
        seconds = time.perf_counter() - began
        if done.features is not None:
            self._features[encoding, compute, self.backbone.depth] = done.features
        for at, states in done.states.items():
            self._states[encoding, compute, at] = states
        for at in depths - {at for at, states in done.states.items() if states is None}:
            self._pass_seconds[encoding, compute, at] = seconds * at / max(depths)

    def _is_filled(self, key: _Depth) -> bool:
        return key in self._states or key in self._features


class _Pass:
    """One forward pass of the pretrained backbone over a split.

    Attributes:
        states: Depth -> hidden states; None where they cannot be kept.
        features: Pooled features `(rows, width)`, where the last depth was asked for.
    """

    def __init__(
        self,
        backbone: Backbone,
        examples: Examples,
        compute: Compute,
        depths: set[int],
        room: Room,
        *,
        is_by_token: bool,
    ) -> None:
        self._is_by_token = is_by_token
        self._backbone = backbone
        self._examples = examples
        self._compute = compute
        self._depths = sorted(depths)
        half = None if compute.precision == "fp32" else torch.float16
        self._writers: dict[int, StatesWriter] = {
            depth: StatesWriter(examples.lengths, room, half)
            for depth in reversed(self._depths)  # Deep ones save most, and come to memory first.
            if depth < backbone.depth or is_by_token
        }
        self.states: dict[int, FrozenStates | None] = {}
        self.features: Tensor | None = None

    @torch.no_grad()
    def run(self) -> None:
        """Pass over all rows."""
        self._backbone.to(self._compute.device).eval()
        for rows in evaluation_batches(self._examples.lengths):
            batch = on_device(self._backbone.collate(self._examples, rows), self._compute.device)
            with self._compute.autocast():
                states = self._backbone.hidden_states(batch, self._depths)
                if self._backbone.depth in states and not self._is_by_token:
                    self._keep_features(rows, batch, states[self._backbone.depth])
            for depth in list(self._writers):
                with self._given_up_on_error(depth):
                    self._writers[depth].append(rows, _unpadded(states[depth], batch))
        for depth in list(self._writers):
            with self._given_up_on_error(depth):
                self.states[depth] = self._writers[depth].finish()

    def _keep_features(self, rows: np.ndarray, batch: Batch, hidden: Tensor) -> None:
        features = self._backbone(batch, start=self._backbone.depth, hidden=hidden).cpu()
        if self.features is None:
            dtype = torch.promote_types(features.dtype, torch.float32)
            self.features = torch.empty(len(self._examples), features.shape[1], dtype=dtype)
        self.features[torch.from_numpy(rows)] = features.to(self.features.dtype)

    @contextlib.contextmanager
    def _given_up_on_error(self, depth: int) -> Iterator[None]:
        """Go on without the states of a depth that cannot be kept."""
        try:
            yield
        except (OSError, OverflowError) as error:
            _LOGGER.warning(
                "the hidden states after %d blocks are computed anew in every run, since they "
                "cannot be kept: %s",
                depth,
                error,
            )
            self._writers.pop(depth)
            self.states[depth] = None


def on_device(batch: Batch, device: str) -> Batch:
    """Move a batch to a device."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


def _unpadded(states: Tensor, batch: Batch) -> Tensor:
    """Return the states `(tokens of all rows, width)` of texts; those of images as they are."""
    mask = batch.get("attention_mask")
    return states if mask is None else states[mask.bool()]


def _encoding(split: SplitName, recipe: Recipe) -> _Encoding:
    return (split, recipe.max_length, recipe.image_size)


def _are_alike(recipe: Recipe, other: Recipe) -> bool:
    """Say whether a pass for one recipe may serve another."""
    return all(
        getattr(recipe, name) == getattr(other, name)
        for name in ("max_length", "image_size", "precision")
    )
