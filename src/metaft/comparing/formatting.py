"""Formatting: numbers of reports as people read them."""

from __future__ import annotations

import math

UNKNOWN = "-"


def format_number(value: float, *, sign: bool = False, digits: int = 1) -> str:
    """Return a number with so many digits behind the point; NaN is a dash."""
    if math.isnan(value):
        return UNKNOWN
    rounded = round(value, digits) + 0.0  # no -0.0
    return f"{rounded:+.{digits}f}" if sign else f"{rounded:.{digits}f}"


def format_count(count: int, noun: str) -> str:
    """Return a count with its noun, such as `1 task` or `2 tasks`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def format_chance(p_value: float) -> str:
    """Write a p-value out, however small; 0 is that of an infinite statistic."""
    return f"{p_value:.1e}" if 0 < p_value < 0.001 else f"{p_value:.3f}"
