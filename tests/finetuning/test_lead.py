from __future__ import annotations

import math

import pytest

from metaft.finetuning.lead import LEAD_POINTS, winner_of


@pytest.mark.parametrize(
    ("points", "winner"),
    [
        ([50.0, 50.0 + LEAD_POINTS + 0.1], 1),
        ([50.0, 50.0 + LEAD_POINTS - 0.1], 0),
        ([50.0, 60.0, 60.0], 1),
        ([50.0, 60.0, 61.0], 2),
        ([50.0, math.nan], 0),
        ([math.nan, 20.0, 30.0], 2),
        ([math.nan, math.nan], 0),
        ([50.0], 0),
    ],
)
def test_winner(points: list[float], winner: int) -> None:
    assert winner_of(points) == winner
