"""Figures of a study that a comparison has not: differences of all levels, epochs to near best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from metaft.comparing.drawing import (
    INK,
    Drawing,
    Style,
    finish,
    mark_zero,
    new_figure,
    shorten,
)
from metaft.comparing.judging import Judgement
from metaft.studying.report import FactorReport
from metaft.studying.tables import convergence_of, mean_epochs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 4.4  # inches; wider ones are hard to read on a phone
_ROW = 0.42  # inches of height per level


def draw_levels(factor: FactorReport, styles: Mapping[str, Style], name: str) -> Drawing:
    """Draw every level less the reference: each dataset, and their mean with its interval.

    Args:
        factor: With at least one judgement.
        styles: Of every level.
        name: See `finish`.
    """
    judgements = factor.judgements
    figure, panel = new_figure(_WIDTH, 1.0 + _ROW * len(judgements))
    for at, judgement in enumerate(judgements):
        _draw_level(panel, at, judgement, factor, styles[judgement.method])
    mark_zero(panel, 0.0)
    panel.set_yticks(range(len(judgements)), [shorten(one.method) for one in judgements])
    panel.set_ylim(len(judgements) - 0.4, -0.8)
    panel.set_xlabel(f"less {shorten(factor.reference)}, points")
    panel.grid(visible=True, axis="x")
    told = "; ".join(f"{one.method} {one.points.mean_difference:+.1f}" for one in judgements)
    description = f"Points less {factor.reference}, mean over the datasets: {told}."
    return finish(figure, name, f"{factor.factor}: less {factor.reference}", description)


def draw_convergence(
    factor: FactorReport, styles: Mapping[str, Style], name: str
) -> Drawing | None:
    """Draw the epochs that each level takes to 95 % of the best; None where nothing is known.

    Args:
        factor: With its convergence.
        styles: Of every level.
        name: See `finish`.
    """
    levels = [level for level in factor.methods if convergence_of(factor, level)]
    if not levels:
        return None
    figure, panel = new_figure(_WIDTH, 1.0 + _ROW * len(levels))
    for at, level in enumerate(levels):
        epochs = [one.epochs for one in convergence_of(factor, level).values()]
        _draw_points(panel, at, epochs, styles[level])
        panel.plot(mean_epochs(factor, level), at - 0.3, color=INK, marker="d", markersize=7)
    panel.set_yticks(range(len(levels)), [shorten(level) for level in levels])
    panel.set_ylim(len(levels) - 0.4, -0.8)
    panel.set_xlim(left=0)
    panel.set_xlabel("epochs to 95 % of the best validation score")
    panel.grid(visible=True, axis="x")
    told = "; ".join(f"{level} {mean_epochs(factor, level):.1f}" for level in levels)
    return finish(figure, name, "Epochs to 95 %", f"Epochs to 95 % of the best, mean: {told}.")


def _draw_level(
    panel: Axes, at: int, judgement: Judgement, factor: FactorReport, style: Style
) -> None:
    level, interval = judgement.method, judgement.points.mean_interval
    differences = [task.of(level).difference_points for task in factor.unseen if task.has(level)]
    _draw_points(panel, at, differences, style)
    if math.isfinite(interval.low):
        panel.hlines(at - 0.3, interval.low, interval.high, color=INK, linewidth=2)
    panel.plot(judgement.points.mean_difference, at - 0.3, color=INK, marker="d", markersize=7)


def _draw_points(panel: Axes, at: int, values: list[float], style: Style) -> None:
    panel.plot(
        values,
        np.full(len(values), at),
        color=style.color,
        marker=style.marker,
        linestyle="none",
        markersize=5,
        alpha=0.6,
    )
