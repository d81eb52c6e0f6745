"""The sheet: rows before and after, side by side, as one PNG or one HTML page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from metaft.augmenting.measures import Effect
from metaft.augmenting.spans import Mark, Span, spans_of
from metaft.augmenting.versions import Varied
from metaft.errors import UserError
from metaft.files import written_beside
from metaft.finetuning.text_augmentation import TextAugmenter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".html")
_TEMPLATES = Path(__file__).parent / "templates"

# Background of a marked word; light, so that black text stands out on all of them.
COLOURS: dict[Mark, str] = {
    "replaced": "#bcd7f5",
    "inserted": "#c3e8c0",
    "moved": "#fbe3a2",
    "gone": "#f6c4c0",
}
_FONT_POINTS = 9.0
_CELL_INCHES = 0.602 * _FONT_POINTS / 72  # Width of a character of DejaVu Sans Mono.
_LINE_INCHES = 1.6 * _FONT_POINTS / 72
_COLUMN = 62  # Characters per side of a text.
_MOST_CHARACTERS = 300  # Of a text that is shown.
_IMAGE_INCHES = 1.1


@dataclass(frozen=True, slots=True)
class Pair:
    """One row of the sheet of texts."""

    row: int
    method: str
    before: list[Span]
    after: list[Span]


def check_sheet_path(path: Path) -> None:
    """Refuse a file that is neither a picture nor a page, before any work.

    Raises:
        UserError: Naming what is allowed.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--out is {path}; allowed are files that end in {' or '.join(FORMATS)}",
                        "Name for example sheet.png")  # fmt: skip


def save_sheet(path: Path, varied: Varied, effects: Sequence[Effect], rows: int) -> None:
    """Write the first rows, before and after each method.

    Args:
        path: Ends in `.png` or `.html`.
        varied: Rows and methods.
        effects: Stand as a table on a page.
        rows: How many to show.
    """
    shown = list(range(min(rows, len(varied.examples))))
    is_text = "input_ids" in varied.examples.columns
    with written_beside(path) as beside:
        if path.suffix.lower() == ".png":
            beside.write_bytes(_picture(varied, shown, is_text=is_text))
        else:
            pairs = pairs_of(varied, shown) if is_text else []
            picture = None if is_text else _picture(varied, shown, is_text=False)
            beside.write_text(_page(varied, effects, pairs, picture), encoding="utf-8")


def pairs_of(varied: Varied, rows: Sequence[int]) -> list[Pair]:
    """Return each row with each method, in the first epoch that changes it."""
    pairs = []
    tokenizer: Any = getattr(varied.backbone, "tokenizer", None)
    for row in rows:
        for method, augmenter in varied.augmenters.items():
            epoch = next(varied.epochs_that_change(method, row), None)
            if epoch is not None and isinstance(augmenter, TextAugmenter):
                pairs.append(Pair(row, method, *spans_of(augmenter, row, epoch, tokenizer)))
    return pairs


def _picture(varied: Varied, rows: Sequence[int], *, is_text: bool) -> bytes:
    figure = _draw_texts(pairs_of(varied, rows)) if is_text else _draw_images(varied, rows)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150)
    return file.getvalue()


def _draw_images(varied: Varied, rows: Sequence[int]) -> Figure:
    """Draw one line per image: as it is, then after each method."""
    from matplotlib.figure import Figure

    columns = ["as it is", *varied.augmenters]
    width, height = len(columns) * _IMAGE_INCHES, len(rows) * _IMAGE_INCHES + 0.3
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, row in enumerate(rows):
        for column, method in enumerate(columns):
            ax = axes[line, column]
            pixels = _pixels(varied, method if column else None, row, len(rows))
            ax.imshow(pixels.permute(1, 2, 0).numpy())
            ax.set_axis_off()
            if line == 0:
                ax.set_title(method, fontsize=_FONT_POINTS)
    return figure


def _pixels(varied: Varied, method: str | None, row: int, shown: int) -> torch.Tensor:
    """Return an image `(3, side, side)` in [0, 1], mixed with the one before it in the sheet."""
    if method is None:
        return torch.as_tensor(varied.examples.columns["pixels"][row]).float() / 255
    augmenter = varied.augmenters[method]
    epoch = next(varied.epochs_that_change(method, row), 1)
    pair = np.array([row, (row - 1) % shown])
    changed = torch.as_tensor(augmenter.vary(pair, epoch).columns["pixels"]).float() / 255
    mixing = augmenter.mix(pair, epoch)
    return (mixing.blend({"pixels": changed})["pixels"] if mixing else changed)[0]


def _draw_texts(pairs: Sequence[Pair]) -> Figure:
    """Draw one block per row and method: its name, then before and after side by side."""
    from matplotlib.figure import Figure

    blocks = [(pair, _wrapped(pair.before), _wrapped(pair.after)) for pair in pairs]
    lines = 3 + sum(2 + max(len(left), len(right)) for _, left, right in blocks)
    cells = 2 * _COLUMN + 6
    figure = Figure(figsize=(cells * _CELL_INCHES, lines * _LINE_INCHES))
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set(xlim=(0, cells), ylim=(lines, 0))
    ax.set_axis_off()
    _draw_key(ax)
    line = 3
    for pair, left, right in blocks:
        ax.text(2, line, f"row {pair.row + 1}, {pair.method}", **_font(weight="bold"))
        for at, side in ((2, left), (4 + _COLUMN, right)):
            for number, words in enumerate(side):
                _draw_line(ax, at, line + 1 + number, words)
        line += 2 + max(len(left), len(right))
    return figure


def _draw_key(ax: Any) -> None:
    at = 2
    for mark, colour in COLOURS.items():
        ax.text(at, 1, mark, bbox=_box(colour), **_font())
        at += len(mark) + 3


def _draw_line(ax: Any, at: int, line: int, words: Sequence[Span]) -> None:
    for span in words:
        at += len(span.space)
        box = _box(COLOURS[span.mark]) if span.mark != "kept" else None
        ax.text(at, line, span.text, bbox=box, **_font())
        at += len(span.text)


def _wrapped(spans: Sequence[Span]) -> list[list[Span]]:
    """Cut a text into lines, and what is too long to be shown off."""
    lines: list[list[Span]] = [[]]
    used, total = 0, 0
    for span in spans:
        space = " " if span.space.isspace() else span.space
        needed = len(space) + len(span.text)
        total += needed
        if total > _MOST_CHARACTERS:
            lines[-1].append(Span(" ", "...", "kept"))
            break
        if used + needed > _COLUMN - 4 and lines[-1]:
            lines.append([])
            used, space = 0, space.lstrip()
        lines[-1].append(Span(space, span.text, span.mark))
        used += len(space) + len(span.text)
    return lines


def _font(**more: Any) -> dict[str, Any]:
    # A dollar sign would begin a formula.
    return {
        "family": "DejaVu Sans Mono",
        "fontsize": _FONT_POINTS,
        "va": "center",
        "parse_math": False,
        **more,
    }


def _box(colour: str) -> dict[str, Any]:
    return {"facecolor": colour, "edgecolor": "none", "pad": 1.5}


def _page(
    varied: Varied, effects: Sequence[Effect], pairs: Sequence[Pair], picture: bytes | None
) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns, rows = effect_table(effects)
    return environment.get_template("sheet.html").render(
        task=varied.task,
        backbone=varied.backbone.identity,
        colours=COLOURS,
        pairs=pairs,
        columns=columns,
        rows=rows,
        picture=None if picture is None else base64.b64encode(picture).decode(),
    )


_HEADINGS = {
    "changed": "changed rows",
    "distinct_1": "distinct tokens",
    "distinct_2": "distinct pairs",
    "self_bleu": "self-BLEU",
    "pixel_distance": "pixel distance",
    "embedding_cosine": "embedding cosine",
    "label_kept": "label kept",
    "perplexity": "perplexity",
}


def effect_table(effects: Sequence[Effect]) -> tuple[list[str], list[list[str]]]:
    """Lay effects out as texts, without the columns that hold no number."""
    known = [name for name in _HEADINGS if any(_is_known(e, name) for e in effects)]
    rows = [
        [e.method, *(f"{getattr(e, name):.3f}" if _is_known(e, name) else "" for name in known)]
        for e in effects
    ]
    return ["method", *(_HEADINGS[name] for name in known)], rows


def _is_known(effect: Effect, name: str) -> bool:
    return not math.isnan(getattr(effect, name))
