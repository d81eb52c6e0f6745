"""Power: how many pairs it takes to show an effect."""

from __future__ import annotations

import bisect
import math

import numpy as np
from scipy import optimize, stats

_MOST_PAIRS = 1_000_000
"""`pairs_needed` gives up here."""

_LARGEST_EFFECT = 100.0
"""`detectable_effect` looks no further; two pairs find 24 four times in five."""


def fewest_pairs(alpha: float = 0.05) -> int:
    """Return with how many pairs the two-sided Wilcoxon test can first reach `alpha`."""
    return max(1, math.ceil(1 - math.log2(alpha)))


def power_of(pairs: int, effect: float, alpha: float = 0.05) -> float:
    """Return the chance that a two-sided paired t-test finds an effect of size d_z."""
    if pairs < 2 or math.isnan(effect):
        return 0.0
    if math.isinf(effect):
        return 1.0
    limit = stats.t.isf(alpha / 2, pairs - 1)
    centre = abs(effect) * math.sqrt(pairs)
    this_way = stats.nct.sf(limit, pairs - 1, centre)
    # The other tail vanishes as the effect grows, and where it has, scipy may say NaN.
    other_way = np.nan_to_num(stats.nct.cdf(-limit, pairs - 1, centre))
    return float(this_way + other_way)


def pairs_needed(effect: float, power: float = 0.8, alpha: float = 0.05) -> int | None:
    """Return the fewest pairs that find an effect of size d_z with the given chance.

    Both tests must be able to: at least `fewest_pairs(alpha)`. None where a million pairs
    are too few, as for no effect at all.
    """
    sizes = range(fewest_pairs(alpha), _MOST_PAIRS + 1)
    at = bisect.bisect_left(sizes, power, key=lambda pairs: power_of(pairs, effect, alpha))
    return sizes[at] if at < len(sizes) else None


def detectable_effect(pairs: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest d_z that so many pairs find with the given chance.

    Infinite for fewer than two pairs.
    """
    if pairs < 2:
        return math.inf
    found = optimize.brentq(
        lambda effect: power_of(pairs, effect, alpha) - power, 0.0, _LARGEST_EFFECT
    )
    return float(found)
