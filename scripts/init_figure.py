"""The learning curves of the comparison of initialisations, as one figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from few_shot_cells import FEW, LAYERED, LOOKS, MULTI_TASK, Result, options_of
from init_significance import accuracies_on_the_way

from metaft.comparing.drawing import new_figure, styles_of
from metaft.files import written_beside

_INCHES = (10.0, 3.4)  # width, height

LEFT_OUT = (MULTI_TASK, LAYERED)
"""Far below all others, and the same as Meta-SGD to the eye: they would hide the differences."""


def draw_curves(results: Sequence[Result], methods: Sequence[str], path: Path) -> None:
    """Draw the mean accuracy by steps, one panel for each number of shots, into an SVG file.

    Methods that take no step have no curve.
    """
    shots_known = sorted({r.cell.shots for r in results if r.cell.stage == FEW})
    moving = [
        method
        for method in methods
        if method not in LEFT_OUT and any(rate for rate, _ in options_of(method))
    ]
    styles = styles_of(moving)
    figure, panels = new_figure(*_INCHES, ncols=len(shots_known), sharey=True, squeeze=False)
    for shots, panel in zip(shots_known, panels[0], strict=True):
        datasets, means = accuracies_on_the_way(results, moving, [shots])
        for method, curve in means.items():
            style = styles[method]
            panel.plot(
                list(curve),
                list(curve.values()),
                color=style.color,
                marker=style.marker,
                linestyle=style.linestyle,
                markersize=4,
                linewidth=1.2,
                label=method,
            )
        panel.set(title=f"{shots} shots, {datasets} datasets", xlabel="steps", xticks=LOOKS)
        panel.grid(visible=True)
    panels[0][0].set_ylabel("test accuracy, points")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    with mpl.rc_context({"svg.hashsalt": "metaft"}), written_beside(path) as beside:
        figure.savefig(beside, format="svg", facecolor="white", metadata={"Date": None})
