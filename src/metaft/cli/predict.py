"""`metaft predict`: a Run's model at work on new rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metaft.cli.options import format_option
from metaft.cli.output import print_answer
from metaft.errors import UserError

if TYPE_CHECKING:
    from pyarrow import Table

    from metaft.tasks.task import Split

_FILE = click.Path(path_type=Path)


@click.command("predict")
@click.option(
    "--run",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder that metaft finetune wrote.",
)
@click.option("--text", "texts", multiple=True, help="A text; may be given several times.")
@click.option("--text-pair", "pairs", multiple=True, help="The second text of each pair.")
@click.option("--question", "questions", multiple=True, help="A question about --context.")
@click.option("--context", help="The text in which answers are looked for.")
@click.option("--context-file", type=_FILE, metavar="FILE", help="The same, from a text file.")
@click.option("--image", "images", multiple=True, type=_FILE, metavar="FILE", help="An image.")
@click.option(
    "--file",
    "rows_file",
    type=_FILE,
    metavar="FILE",
    help="Rows: CSV, TSV, JSON lines or Parquet with columns text (and text_pair), or question "
    "and context.",
)
@format_option
def command(
    *,
    folder: Path,
    texts: tuple[str, ...],
    pairs: tuple[str, ...],
    questions: tuple[str, ...],
    context: str | None,
    context_file: Path | None,
    images: tuple[Path, ...],
    rows_file: Path | None,
    output_format: str,
) -> None:
    """Let the model of a Run answer on new rows.

    It gives labels, values, tagged words with their entities, or answers to questions. For example
    `metaft predict --run runs/reviews --text "What a film"`, or
    `metaft predict --run runs/squad --question "Who?" --context-file page.txt`.
    """
    from metaft.finetuning.predicting import open_run

    if context is not None and context_file is not None:
        raise UserError("--context and --context-file are both given", "Give one of them")
    if context_file is not None:
        context = _read(context_file).decode("utf-8", errors="replace")
    predictor = open_run(folder)
    rows = _rows(
        predictor.kind,
        has_pairs=predictor.has_pairs,
        texts=texts,
        pairs=pairs,
        questions=questions,
        context=context,
        images=images,
        rows_file=rows_file,
    )
    answers = predictor.predict(rows) if len(rows) else []
    inputs = rows.texts or [str(image) for image in images]
    answer = [{"input": given, **found} for given, found in zip(inputs, answers, strict=True)]
    print_answer(answer, output_format, _render)


def _rows(
    kind: str,
    *,
    has_pairs: bool,
    texts: Sequence[str],
    pairs: Sequence[str],
    questions: Sequence[str],
    context: str | None,
    images: Sequence[Path],
    rows_file: Path | None,
) -> Split:
    """Put what was given into the rows that a Run's model takes.

    Raises:
        UserError: If something is missing, superfluous, or of another kind.
    """
    import numpy as np

    from metaft.tasks.inputs import check_image
    from metaft.tasks.task import Split

    wanted = _wanted(kind, has_pairs)
    if rows_file is not None and (texts or pairs or questions or context or images):
        raise UserError(
            f"rows are given twice: by --file {str(rows_file)!r} and by other options",
            "Put all into the file, or leave --file out",
        )
    if rows_file is not None:
        texts, second = _columns(rows_file, kind, wanted)
        return Split(labels=np.zeros(len(texts)), texts=tuple(texts), text_pairs=second)
    given: dict[str, Sequence[Any]] = {
        "--text": texts,
        "--text-pair": pairs,
        "--question": questions,
        "--context": [context] * max(1, len(questions)) if context else [],
        "--image": images,
    }
    _check_given(kind, wanted, given)
    if kind == "image_classification":
        encoded = tuple(_read(image) for image in images)
        for content, image in zip(encoded, images, strict=True):
            check_image(content, repr(str(image)))
        return Split(labels=np.zeros(len(images)), images=encoded)
    columns = [tuple(given[option]) for option in wanted]
    return Split(
        labels=np.zeros(len(columns[0])),
        texts=columns[0],
        text_pairs=columns[1] if len(columns) > 1 else None,
    )


def _wanted(kind: str, has_pairs: bool) -> tuple[str, ...]:
    """Return the options that a row of a Run is given by."""
    if kind in _WANTED:
        return _WANTED[kind]
    return ("--text", "--text-pair") if has_pairs else ("--text",)


def _check_given(kind: str, wanted: Sequence[str], given: Mapping[str, Sequence[Any]]) -> None:
    """Refuse rows that lack a part, or have one that the model would not see.

    Raises:
        UserError: Naming what the Run needs.
    """
    needs = f"the Run was trained on a task of kind {kind}, which needs {' and '.join(wanted)}"
    if len({len(given[option]) for option in wanted}) > 1 or not given[wanted[0]]:
        raise UserError(
            needs + (", as many of each" if "--text-pair" in wanted else ""),
            "Give that, or rows with --file" if kind != "image_classification" else "Give that",
        )
    more = [option for option, values in given.items() if values and option not in wanted]
    if more:
        raise UserError(f"{' and '.join(more)} would not be looked at: {needs}", "Leave it out")


def _read(path: Path) -> bytes:
    """Read a file that the user named.

    Raises:
        UserError: If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}", "Check it") from error


_WANTED = {
    "qa": ("--question", "--context"),
    "image_classification": ("--image",),
}


def _columns(
    path: Path, kind: str, wanted: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """Read the texts of a file, whose columns are named like the options.

    Raises:
        UserError: If a column is missing, superfluous, or holds no texts.
    """
    from metaft.tasks.local import read_table

    table = read_table(path)
    names = [option.removeprefix("--").replace("-", "_") for option in wanted]
    missing = [name for name in names if name not in table.column_names]
    if missing or kind == "image_classification":
        raise UserError(
            f"{str(path)!r} has the columns {', '.join(table.column_names)}; a Run of kind {kind} "
            f"needs {' and '.join(names) if kind != 'image_classification' else '--image'}",
            "Name the columns so",
        )
    if "text_pair" in table.column_names and "text_pair" not in names:
        raise UserError(
            f"{str(path)!r} has the column text_pair, which a Run of kind {kind} that was trained "
            f"on {' and '.join(names)} alone would not look at",
            "Leave the column out",
        )
    found = [_texts_in(table, name, repr(str(path))) for name in names]
    return found[0], found[1] if len(found) > 1 else None


def _texts_in(table: Table, name: str, place: str) -> tuple[str, ...]:
    """Read a column of texts, none of them missing; a file may have no rows.

    Raises:
        UserError: If a text is missing, or the column holds something else.
    """
    import numpy as np

    from metaft.tasks.inputs import read_texts

    if table.num_rows == 0:  # Its columns are of no type.
        return ()
    missing = np.flatnonzero(table[name].is_null().to_numpy())
    if len(missing):
        raise UserError(
            f"the column {name!r} of {place} has no text in row {missing[0] + 1} "
            "(the first row is 1)",
            "Fill it in, or remove the row",
        )
    return read_texts(table, name, place, cure=f"Put the texts into the column {name}")


def _render(answer: Sequence[Mapping[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("input", "answer", "")
    for row in answer:
        cells = (_shortened(str(row["input"])), *_cells(row))
        table.add_row(*map(Text, cells))  # Brackets in a text are no markup.
    return table


def _cells(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return what is said of a row, and how sure it is or where it stands."""
    if "label" in row:
        return str(row["label"]), f"{row['probability']:.3f}"
    if "value" in row:
        return f"{row['value']:.3f}", ""
    if "answer" in row:
        return row["answer"] or "(no answer)", f"{row['start']} to {row['end']}"
    if "entities" in row:
        return "\n".join(f"{e['type']}: {e['text']}" for e in row["entities"]) or "(none)", ""
    return " ".join(f"{word['word']}/{word['tag']}" for word in row["words"]), ""


def _shortened(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
