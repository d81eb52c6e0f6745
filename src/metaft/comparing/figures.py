"""Figures: learning curves as small multiples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaft.comparing.curves import MethodCurve, TaskCurves
from metaft.files import written_beside

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

# Okabe & Ito's colours, which stay apart for colour-blind readers, yellow left out; lines
# and markers differ as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", "-.", ":")

_TASKS_PER_ROW = 2
_PANEL_INCHES = (3.1, 2.3)  # width, height
_HEAD_INCHES = 0.9  # title and legend
_DOTS_PER_INCH = 120
_TITLE = (
    "Test score after each epoch: by epoch (left) and by seconds (right) of every task\n"
    "line: mean over seeds; band: lowest to highest seed; star: where validation chose to stop"
)


def draw_learning_curves(tasks: Sequence[TaskCurves], path: Path) -> None:
    """Draw two panels per task: the test score by epoch, and by wall seconds.

    Args:
        tasks: At least one.
        path: PNG to write, whole or not at all.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 2 * min(_TASKS_PER_ROW, len(tasks))
    rows = -(-len(tasks) // _TASKS_PER_ROW)
    size = (columns * _PANEL_INCHES[0], rows * _PANEL_INCHES[1] + _HEAD_INCHES)
    figure = Figure(figsize=size, dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    styles = _styles_of(tasks)
    for at, task in enumerate(tasks):
        _draw_task(panels[2 * at], panels[2 * at + 1], task, styles)
    for empty in panels[2 * len(tasks) :]:
        empty.set_axis_off()
    handles = {line.get_label(): line for panel in panels for line in panel.get_lines()}
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False
    )
    figure.suptitle(_TITLE, fontsize="medium")
    with written_beside(path) as beside:
        figure.savefig(beside, format="png")


def _styles_of(tasks: Sequence[TaskCurves]) -> dict[str, dict[str, Any]]:
    """Give every method the same colour, marker and line in all panels."""
    methods = dict.fromkeys(curve.method for task in tasks for curve in task.methods)
    return {
        method: {
            "color": _COLOURS[at % len(_COLOURS)],
            "marker": _MARKERS[at % len(_MARKERS)],
            "linestyle": _LINES[at % len(_LINES)],
        }
        for at, method in enumerate(methods)
    }


def _draw_task(
    by_epoch: Axes, by_seconds: Axes, task: TaskCurves, styles: dict[str, dict[str, Any]]
) -> None:
    for curve in task.methods:
        style = styles[curve.method]
        _draw_curve(by_epoch, curve.epochs, curve.chosen_epoch, curve, style)
        _draw_curve(by_seconds, curve.seconds, curve.chosen_seconds, curve, style)
    by_epoch.set_title(task.task, fontsize="small", loc="left", fontweight="bold")
    by_epoch.set_xlabel("epoch", fontsize="small")
    by_epoch.set_ylabel(f"test {task.metric.replace('_', ' ')}", fontsize="small")
    by_epoch.locator_params("x", integer=True)
    by_seconds.set_xlabel("wall seconds", fontsize="small")
    by_seconds.set_xlim(left=0)
    by_seconds.sharey(by_epoch)
    by_seconds.tick_params(labelleft=False)
    for panel in (by_epoch, by_seconds):
        panel.tick_params(labelsize="small")
        panel.grid(visible=True, color="0.9", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        if not task.methods:
            panel.set(xticks=[], yticks=[])
            panel.text(0.5, 0.5, "no run ended well", transform=panel.transAxes, ha="center")


def _draw_curve(
    panel: Axes, x: np.ndarray, chosen: float, curve: MethodCurve, style: dict[str, Any]
) -> None:
    colour = style["color"]
    panel.plot(x, curve.mean, label=curve.method, markersize=4, linewidth=1.4, **style)
    panel.fill_between(x, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
    panel.scatter(
        chosen, curve.chosen_score, s=90, marker="*", color=colour, edgecolor="black", zorder=3
    )
