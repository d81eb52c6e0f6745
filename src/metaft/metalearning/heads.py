"""How the head of an episode starts: without an opinion, or with the means of its classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PROTOTYPE_SHARPNESS = 10.0
"""How far apart the logits of two classes lie when their means point into unlike directions.

Source: Chen et al. 2021, Meta-Baseline, section 3.2, where a cosine is multiplied by 10.
"""


@torch.no_grad()
def zero_head(head: nn.Linear) -> None:
    """Make every class as likely, whatever the features are."""
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)


@torch.no_grad()
def prototype_head(head: nn.Linear, features: Tensor, labels: Tensor) -> None:
    """Let the head prefer the class whose mean is nearest.

    The negative squared distance to a class's mean is a linear function of the features, but for
    a term that all classes share. Distances are measured in units of the features' own mean
    squared norm, so that the logits are as sharp for every backbone.

    Source: Snell et al. 2017, Prototypical Networks, eq. 8; Triantafillou et al. 2020,
    Meta-Dataset, section 3.2 (Proto-MAML).

    Args:
        head: `(classes, width)`; overwritten. A class without a row has a mean of zero.
        features: `(rows, width)`.
        labels: `(rows,)` class numbers.
    """
    found = features.to(torch.float64 if features.dtype == torch.float64 else torch.float32)
    unit = found.square().sum(1).mean().clamp(min=torch.finfo(found.dtype).tiny)
    means = found.new_zeros(head.out_features, found.shape[1])
    counts = labels.bincount(minlength=head.out_features).clamp(min=1)
    means.index_add_(0, labels, found)
    means /= counts[:, None]
    head.weight.copy_(2 * PROTOTYPE_SHARPNESS * means / unit)
    head.bias.copy_(-PROTOTYPE_SHARPNESS * means.square().sum(1) / unit)
