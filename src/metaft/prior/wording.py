"""Wording: figures as texts; light, since every answer needs it."""

from __future__ import annotations

import math
from typing import Any

UNKNOWN = "-"


def p_text(p_value: Any) -> str:
    """Return a p-value as tables show it, such as `.012`."""
    value = or_nan(p_value)
    if math.isnan(value):
        return UNKNOWN
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def p_note(p_value: Any) -> str:
    """Return a p-value as sentences show it, such as `p = .012`."""
    text = p_text(p_value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def number_text(value: Any, digits: int = 2) -> str:
    """Return a number as tables show it; a dash for what is not known."""
    number = or_nan(value)
    return f"{round(number, digits) + 0.0:.{digits}f}" if math.isfinite(number) else UNKNOWN


def share_text(value: Any) -> str:
    """Return a share as tables show it, such as `2.5 %`; a dash for what is not known."""
    number = or_nan(value)
    return f"{100 * number:.1f} %" if math.isfinite(number) else UNKNOWN


def or_nan(value: Any) -> float:
    """Return a number; NaN for what JSON could not say."""
    return math.nan if value is None else float(value)
