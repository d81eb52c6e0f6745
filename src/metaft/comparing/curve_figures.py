"""Figures of learning curves, one per task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from metaft.comparing.curves import MethodCurve, TaskCurves
from metaft.comparing.drawing import FAINT, INK, Drawing, Style, finish, new_figure
from metaft.comparing.results import POINTS

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

_INCHES = (3.6, 4.2)  # width, height of two panels


def draw_curves(task: TaskCurves, styles: Mapping[str, Style], name: str) -> Drawing:
    """Draw the test score by epoch, and below it by wall seconds.

    A star stands at the epoch that validation chose. Where the recipe came with a prediction,
    a bar through the star spans the predicted interval.

    Args:
        task: Its curves; none at all are told in words.
        styles: Of every method.
        name: See `finish`.
    """
    figure, (by_epoch, by_seconds) = new_figure(*_INCHES, nrows=2, sharey=True)
    for curve in task.methods:
        style = styles[curve.method]
        _draw_curve(by_epoch, curve.epochs, curve.chosen_epoch, curve, style)
        _draw_curve(by_seconds, curve.seconds, curve.chosen_seconds, curve, style)
    _draw_predictions(by_epoch, task, styles)
    by_epoch.set_xlabel("epoch")
    by_epoch.locator_params("x", integer=True)
    by_seconds.set_xlabel("wall seconds")
    by_seconds.set_xlim(left=0)
    for panel in (by_epoch, by_seconds):
        panel.set_ylabel(f"test {task.metric.replace('_', ' ')}")
        panel.grid(visible=True)
        if not task.methods:
            panel.set(xticks=[], yticks=[])
            panel.text(0.5, 0.5, "no run ended well", transform=panel.transAxes, ha="center")
    return finish(figure, name, task.task, _description(task))


def tell_choice(curve: MethodCurve) -> str:
    """Say where validation stopped a method, what that gave, and what was expected."""
    epoch, reached = round(curve.chosen_epoch, 1), POINTS * curve.chosen_score
    told = f"epoch {epoch:g} of {curve.budget}, {reached:.1f}"
    if curve.predicted is None:
        return told
    score, low, high = (
        f"{POINTS * value:.1f}"
        for value in (curve.predicted.score, curve.predicted.low, curve.predicted.high)
    )
    return f"{told} (predicted {score}, {low} to {high})"


def _description(task: TaskCurves) -> str:
    told = [f"{curve.method} {tell_choice(curve)}" for curve in task.methods]
    chosen = "; ".join(told) or "no run ended well"
    return f"Learning curves on {task.task}, test score by epoch and by seconds. Chosen: {chosen}."


def _draw_curve(
    panel: Axes, x: np.ndarray, chosen: float, curve: MethodCurve, style: Style
) -> None:
    colour = style.color
    panel.plot(
        x,
        curve.mean,
        color=colour,
        marker=style.marker,
        linestyle=style.linestyle,
        markersize=4,
        linewidth=1.4,
    )
    panel.fill_between(x, curve.low, curve.high, color=colour, alpha=FAINT, linewidth=0)
    panel.scatter(
        chosen, curve.chosen_score, s=110, marker="*", color=colour, edgecolor=INK, zorder=3
    )


def _draw_predictions(panel: Axes, task: TaskCurves, styles: Mapping[str, Style]) -> None:
    """Draw predicted intervals without stretching the scale to them."""
    shown = panel.get_ylim()
    for curve in task.methods:
        if curve.predicted:
            colour = styles[curve.method].color
            bounds = (curve.predicted.low, curve.predicted.high)
            panel.vlines(curve.chosen_epoch, *bounds, color=colour, linewidth=5, alpha=0.35)
    panel.set_ylim(shown)
