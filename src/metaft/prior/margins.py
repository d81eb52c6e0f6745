"""Margins: which differences in points count; fixed before anything was measured."""

MARGIN_POINTS = 0.3
"""A method that is less than this worse is no worse."""

TIE_POINTS = 0.05
"""Differences up to this are ties in win/tie/loss: they vanish in the printed tables."""
