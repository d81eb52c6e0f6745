"""Features of single tokens, as the pretrained backbone gives them."""

from __future__ import annotations

import numpy as np
import torch

from metaft.finetuning.batches import evaluation_batches
from metaft.finetuning.device import Compute
from metaft.finetuning.feed import Feed
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.recipes import Recipe


@torch.no_grad()
def features_at(cache: PrefixCache, recipe: Recipe, compute: Compute, at: np.ndarray) -> np.ndarray:
    """Return the last hidden states of some tokens of the training rows.

    Args:
        cache: Of the run's task and backbone.
        recipe: Says how rows are encoded.
        compute: Where the pass is made.
        at: `(n, 2)` row and token of each.

    Returns:
        `(n, token_width)`, float32.
    """
    examples = cache.examples("train", recipe)
    rows = np.unique(at[:, 0])
    chosen = examples.take(rows)
    feed = Feed(chosen, compute, is_by_token=True)
    backbone = cache.backbone.to(compute.device).eval()
    features = np.zeros((len(at), backbone.token_width), dtype=np.float32)
    row_of = np.searchsorted(rows, at[:, 0])
    for batch in evaluation_batches(chosen.lengths):
        states = feed.represented(backbone, batch).float().cpu().numpy()
        place_in_batch = {int(row): number for number, row in enumerate(batch)}
        wanted = np.flatnonzero(np.isin(row_of, batch))
        numbers = [place_in_batch[int(row)] for row in row_of[wanted]]
        features[wanted] = states[numbers, at[wanted, 1]]
    return features
