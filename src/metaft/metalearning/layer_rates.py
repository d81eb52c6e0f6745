"""From Meta-SGD's learned rates to a recipe's: how the rate changes from block to block."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from metaft.backbones.backbone import Backbone

_LOWEST_DECAY, _HIGHEST_DECAY = 0.1, 1.0  # What a recipe allows.


def block_rates(backbone: Backbone, learned_rates: Mapping[str, float]) -> dict[int, float]:
    """Average learned rates over the parameters of each block, by their sizes.

    Args:
        backbone: That the rates were learned for.
        learned_rates: Parameter of the classifier (`backbone.NAME`) -> mean rate of its weights.

    Returns:
        Number of the block, 0 for the lowest -> rate; without the blocks that were frozen.
    """
    name_of = {id(value): name for name, value in backbone.named_parameters()}
    rates = {}
    for number, block in enumerate(backbone.blocks()):
        sized = [
            (learned_rates[f"backbone.{name_of[id(value)]}"], value.numel())
            for value in block.parameters()
            if f"backbone.{name_of[id(value)]}" in learned_rates
        ]
        if sized:
            values, sizes = zip(*sized, strict=True)
            rates[number] = float(np.average(values, weights=sizes))
    return rates


def layer_rate_decay_of(backbone: Backbone, learned_rates: Mapping[str, float]) -> float:
    """Return the `layer_rate_decay` that is nearest to learned rates.

    The logarithms of the blocks' rates are fitted by a straight line. Rates that fall towards the
    head have no such decay, since a recipe's is at most 1; nor have rates that are not above 0.

    Returns:
        In [0.1, 1]; 1 where fewer than two blocks have a rate.
    """
    rates = block_rates(backbone, learned_rates)
    if len(rates) < 2 or min(rates.values()) <= 0:
        return 1.0
    slope = np.polyfit(list(rates), np.log(list(rates.values())), 1)[0]
    return float(np.clip(math.exp(-slope), _LOWEST_DECAY, _HIGHEST_DECAY))
