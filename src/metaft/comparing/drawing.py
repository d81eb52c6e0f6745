"""Drawing: what all figures of a report share. They are SVG, and stand inside the page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colours, which stay apart for colour-blind readers; those too pale for a white
# page are darker, and lines and markers differ as well. Each keeps a contrast of 3 to the
# light and to the dark page.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#c46f9c", "#b07a00", "#8c6bd1", "#808080")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", "-.", ":")

INK = "#010203"
"""Stands for the colour of the page's text, dark on light or light on dark."""

FAINT = 0.2
"""Opacity of grids and of what stands behind."""

_POINTS_PER_INCH = 72
_PIXELS_PER_POINT = 96 / _POINTS_PER_INCH
_SETTINGS: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.alpha": FAINT,
    "grid.color": INK,
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",  # texts stay texts: they can be found, copied and read aloud
    "svg.hashsalt": "metaft",  # the same figure has the same bytes
    "text.color": INK,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure as it stands in a page.

    Attributes:
        title: What it shows.
        description: The same for those who do not see it, with the main numbers.
        svg: An `<svg>` element whose ids are its own and which grows with the page up to its
            natural width.
    """

    title: str
    description: str
    svg: str


@dataclass(frozen=True, slots=True)
class Style:
    """How a method looks in every figure."""

    color: str
    marker: str
    linestyle: str


def styles_of(methods: Sequence[str]) -> dict[str, Style]:
    """Give every method its colour, marker and line."""
    return {
        method: Style(
            COLOURS[at % len(COLOURS)], _MARKERS[at % len(_MARKERS)], _LINES[at % len(_LINES)]
        )
        for at, method in enumerate(methods)
    }


def new_figure(width: float, height: float, **layout: Any) -> tuple[Figure, Any]:
    """Return a figure and its panels, in the page's looks.

    Args:
        width: Inches; 96 pixels of a page each.
        height: Likewise.
        **layout: Of `Figure.subplots`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(**layout)


def finish(figure: Figure, name: str, title: str, description: str) -> Drawing:
    """Turn a figure into SVG for a page.

    Args:
        figure: From `new_figure`.
        name: Letters, digits and hyphens; no other figure of the page has it.
        title: See `Drawing`.
        description: Likewise.
    """
    import matplotlib as mpl

    file = io.StringIO()
    with mpl.rc_context(_SETTINGS):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return Drawing(title, description, _inside_page(file.getvalue(), name, description))


def shorten(name: str, letters: int = 26) -> str:
    """Cut a name that would leave no room for the figure; its end tells more than its middle."""
    if len(name) <= letters:
        return name
    kept = (letters - 1) // 2
    return f"{name[:kept]}…{name[-kept:]}"


def mark_zero(panel: Axes, at: float) -> None:
    """Draw the vertical line of no difference."""
    panel.axvline(at, color=INK, linewidth=1.0)


def _inside_page(svg: str, name: str, description: str) -> str:
    """Give the element a text, ids of its own, the page's ink, and no fixed size."""
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", body)
    body = body.replace(INK, "currentColor")
    head, _, rest = body.partition(">")
    width = float(re.search(r'\bwidth="([\d.]+)pt"', head).group(1))  # type: ignore[union-attr]
    head = re.sub(r'\s(width|height|version|xmlns(:xlink)?)="[^"]*"', "", head)
    text = html.escape(description)
    style = f"max-width:{width * _PIXELS_PER_POINT:.0f}px"
    return f'{head} role="img" aria-label="{text}" style="{style}">{rest}'
