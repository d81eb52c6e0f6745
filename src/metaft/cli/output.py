"""What a command writes: the answer to stdout, notices and progress to stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import click

_PIPE_COLUMNS = 120  # Width of a table that goes to no terminal.
_SPEED_WINDOW_SECONDS = 3600.0  # One run may take minutes; rich's own 30 s would see none.


class Advance(Protocol):
    """Says that some of the work is done."""

    def __call__(self, count: int = 1, note: str = "") -> None:
        """Move the bar on by `count` and show `note` beside it."""


def print_answer(
    answer: Mapping[str, Any] | list[Any],
    output_format: str,
    render_table: Callable[[Any], Any],
) -> None:
    """Write a command's answer, alone, to stdout.

    Args:
        answer: Plain values, numpy scalars and arrays, and paths; NaN and infinities are
            written as null, since JSON has no other word for them.
        output_format: `table`, `json` or `yaml`.
        render_table: Turns `answer` into something that rich renders.
    """
    if output_format == "json":
        click.echo(json.dumps(_plain(answer), indent=2, ensure_ascii=False))
    elif output_format == "yaml":
        import yaml

        click.echo(yaml.safe_dump(_plain(answer), sort_keys=False, allow_unicode=True), nl=False)
    else:
        _print_table(render_table(answer))


def print_notice(text: str) -> None:
    """Write what the user should know beside the answer to stderr."""
    click.echo(text, err=True)


class TextTable(Protocol):
    """A table of texts, as the rooms of the library lay it out."""

    @property
    def title(self) -> str:
        """Return what it shows."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the headings; the first column names the row."""

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Return one text per column in each."""


def field_text(value: Any) -> str:
    """Return a recipe's field as tables show it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def lay_out(content: TextTable, *, is_tight: bool = False, is_prose: bool = False) -> Any:
    """Turn a table of texts into one that rich renders; the first column is never cut.

    Args:
        content: Texts in rows and columns.
        is_tight: Without lines, the other columns to the right: for many narrow columns.
        is_prose: The first column holds sentences, and shares the width like the others.
    """
    from rich.table import Table

    look: dict[str, Any] = {"box": None, "padding": (0, 2, 0, 0)} if is_tight else {}
    table = Table(title=content.title, title_justify="left", **look)
    first, *others = content.columns
    table.add_column(first, no_wrap=not is_prose)
    for heading in others:
        table.add_column(heading, overflow="fold", justify="right" if is_tight else "left")
    for row in content.rows:
        table.add_row(*row)
    return table


@contextmanager
def progress_bar(description: str, total: int | None) -> Iterator[Advance]:
    """Show how far the work is and how long it will take; silent where nobody looks.

    Args:
        description: What is being done.
        total: Steps in all; None where that is unknown.

    Yields:
        `advance(count=1, note="")`, to be called as steps are done.
    """
    from rich import progress
    from rich.console import Console

    columns = [
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[note]}"),
    ]
    with progress.Progress(
        *columns,
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
        speed_estimate_period=_SPEED_WINDOW_SECONDS,
    ) as bar:
        row = bar.add_task(description, total=total, note="")

        def advance(count: int = 1, note: str = "") -> None:
            bar.update(row, advance=count, note=note)

        yield advance


class StepBars(ExitStack):
    """Shows one bar after the other, as the work goes from one thing to the next."""

    _what = ""
    _steps = 0
    _advance: Advance

    def show(self, what: str, done: int, total: int) -> None:
        """Move the bar of `what` on to `done` of `total`."""
        if what != self._what:
            self.close()
            self._what, self._steps = what, 0
            self._advance = self.enter_context(progress_bar(what.capitalize(), total))
        self._advance(done - self._steps)
        self._steps = done


def _print_table(renderable: Any) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else _PIPE_COLUMNS).print(renderable)


def _plain(value: Any) -> Any:
    """Turn a value into what JSON and YAML can both say."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(_plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
