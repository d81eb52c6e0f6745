"""Feed: one split as the model of one run takes it, from rows or from cached states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metaft.backbones.backbone import Backbone, Batch, Examples
from metaft.finetuning.augmentation import Augmenter, Mixing
from metaft.finetuning.device import Compute
from metaft.finetuning.freezing import frozen_parts
from metaft.finetuning.model import Classifier
from metaft.finetuning.prefix_cache import (
    FrozenStates,
    PrefixCache,
    SplitName,
    on_device,
)
from metaft.recipes import Recipe


@dataclass(frozen=True, eq=False)
class Feed:
    """One split, ready to be fed to a model whose first blocks are frozen.

    Attributes:
        examples: The encoded rows.
        compute: Where the batches go.
        frozen_blocks: Blocks that are frozen.
        features: Cached pooled features `(rows, width)`, where all blocks are frozen.
        states: Cached states after the frozen blocks, where some are.
        augmenter: What changes the rows, where something does.
        epoch: In which they are changed.
        is_by_token: Whether the model answers for every token.
    """

    examples: Examples
    compute: Compute
    frozen_blocks: int = 0
    features: Tensor | None = None
    states: FrozenStates | None = None
    augmenter: Augmenter | None = None
    epoch: int = 0
    is_by_token: bool = False

    def mixing(self, rows: np.ndarray) -> Mixing | None:
        """Say how the rows of a batch are mixed with each other; None where they are not."""
        return self.augmenter.mix(rows, self.epoch) if self.augmenter else None

    def logits(self, model: Classifier, rows: np.ndarray) -> Tensor:
        """Run the model on some rows: `(rows, outputs)`, or `(rows, tokens, outputs)`."""
        with self.compute.autocast():
            return model.classify(self.represented(model.backbone, rows))

    def represented(self, backbone: Backbone, rows: np.ndarray) -> Tensor:
        """Run a backbone with the same frozen blocks on some rows.

        Returns:
            `(rows, width)`, or the states of their tokens `(rows, tokens, token_width)`.
        """
        device = self.compute.device
        with self.compute.autocast():
            if self.features is not None:
                return self.features[torch.from_numpy(rows).to(device)]
            batch = on_device(self._collate(backbone, rows), device)
            encode = backbone.token_states if self.is_by_token else backbone
            if self.states is None:
                return encode(batch)
            mask = batch.get("attention_mask")
            hidden = self.states.gather(rows, None if mask is None else mask.shape[1])
            return encode(batch, start=self.frozen_blocks, hidden=hidden.to(device))

    def _collate(self, backbone: Backbone, rows: np.ndarray) -> Batch:
        """Put the rows together, changed where they are to be."""
        if self.augmenter is None:
            return backbone.collate(self.examples, rows)
        changed = self.augmenter.vary(rows, self.epoch)
        batch = backbone.collate(changed, np.arange(len(rows)))
        mixing = self.mixing(rows)
        return mixing.blend(batch) if mixing else batch


def open_feed(
    cache: PrefixCache, split: SplitName, recipe: Recipe, compute: Compute, epoch: int = 1
) -> Feed:
    """Return the feed of a split, with cached states where the first blocks are frozen.

    Args:
        cache: Of the run's task and backbone.
        split: Which rows.
        recipe: Says what is frozen.
        compute: Where the batches go.
        epoch: Of the model that is fed: under gradual unfreezing fewer blocks are frozen later.
    """
    examples = cache.examples(split, recipe)
    by_token = cache.task.is_by_token
    frozen = frozen_parts(recipe, cache.backbone.depth, epoch).prefix
    if not frozen or not cache.serves(split, recipe):
        return Feed(examples, compute, is_by_token=by_token)
    if frozen == cache.backbone.depth and not by_token:
        features = cache.features(split, recipe, compute).to(compute.device)
        return Feed(examples, compute, frozen, features=features)
    states = cache.states(split, recipe, frozen, compute)
    return Feed(examples, compute, frozen, states=states, is_by_token=by_token)
