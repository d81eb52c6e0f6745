"""Lead: which of the recipes that have raced goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence

RACERS = 3
"""Recipes that start where nobody says how many."""

LEAD_POINTS = 2.0
"""Lead on validation that it takes to be preferred to the recipe that was expected to be best:
about the standard error of a score on 400 rows."""


def winner_of(points: Sequence[float]) -> int:
    """Return which racer goes on.

    It is the leader, if it leads the first by more than `LEAD_POINTS` or the first broke off;
    else the first. So the answer for the first few racers is that for all, unless a later one
    wins.

    Args:
        points: Validation score of every racer after its first epoch, in points; the one that
            was expected to be best comes first. NaN where a racer broke off.
    """
    known = [at for at, value in enumerate(points) if math.isfinite(value)]
    if not known:
        return 0
    leader = max(known, key=lambda at: points[at])
    has_won = not math.isfinite(points[0]) or points[leader] - points[0] > LEAD_POINTS
    return leader if has_won else 0
