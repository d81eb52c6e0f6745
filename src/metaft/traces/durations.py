"""Durations as people write them: `90s`, `30m`, `1h30m`."""

from __future__ import annotations

import re

from metaft.errors import UserError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> float:
    """Read a duration such as `90s`, `30m`, `2h` or `1h30m` as seconds.

    Raises:
        UserError: If it is no duration above zero.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or seconds <= 0:
        raise UserError(
            f"{text!r} is no duration; allowed are numbers above 0 with s, m, h or d",
            "Write for example 90s, 30m or 1h30m",
        )
    return seconds
