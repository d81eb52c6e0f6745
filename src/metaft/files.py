"""Where metaft's own files lie, and how files are written: beside, then renamed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metaft.errors import UserError

_PACKAGE = Path(__file__).resolve().parent
_CHUNK_BYTES = 1 << 20


def shipped_folder(name: str) -> Path:
    """Find a folder that ships with metaft.

    An installed wheel carries it inside the package; a checkout has it at its root.

    Args:
        name: `tasks` or `priors`.

    Returns:
        The folder; it may be missing or empty in a broken installation.
    """
    inside_wheel = _PACKAGE / "shipped" / name
    return inside_wheel if inside_wheel.is_dir() else _PACKAGE.parents[1] / name


def user_data_folder() -> Path:
    """Return the folder for what must last (the default trace store), not yet created.

    `METAFT_HOME` overrides it.
    """
    import platformdirs

    home = os.environ.get("METAFT_HOME")
    return Path(home) if home else platformdirs.user_data_path("metaft")


def user_cache_folder() -> Path:
    """Return the folder for what can be computed again, not yet created.

    `METAFT_HOME` overrides it.
    """
    import platformdirs

    home = os.environ.get("METAFT_HOME")
    return Path(home) / "cache" if home else platformdirs.user_cache_path("metaft")


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """Give a path beside `target` to write to, and rename it to `target` at the end.

    Whatever happens in between, `target` is either as it was or complete. A folder that
    exists already is replaced as a whole: it is moved aside, so that a kill at that very
    moment leaves both under hidden names. Where `target` is a link to a folder, that is replaced.

    Args:
        target: The file or folder to appear; its parent is created.
    """
    target = target.resolve() if target.is_dir() else target
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}"
    try:
        yield beside
        if beside.is_dir() and target.is_dir():
            _replace_folder(target, beside)
        else:
            beside.replace(target)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)


def refuse_working_folder(out: Path) -> None:
    """Refuse the folder that the shell stands in, since a folder is replaced as a whole.

    Raises:
        UserError: If `out` is it.
    """
    if out.resolve() == Path.cwd():
        raise UserError(
            f"--out is {out}, the working folder, which would be replaced under your feet",
            "Name a folder in it, or one elsewhere",
        )


def refuse_unwritable(out: Path) -> None:
    """Refuse a file or folder that could not be written, before any work goes into it.

    Raises:
        UserError: If the nearest folder above that exists is none, or takes no files.
    """
    target = out.resolve() if out.is_dir() else out.absolute()
    above = next(folder for folder in target.parents if os.path.lexists(folder))
    try:
        tempfile.TemporaryFile(dir=above).close()
    except OSError as error:
        raise UserError(
            f"--out is {out}, which cannot be written: {above} takes no files ({error.strerror})",
            "Name another place",
        ) from error


def _replace_folder(target: Path, beside: Path) -> None:
    aside = beside.with_name(f"{beside.name}.old")
    target.replace(aside)
    try:
        beside.replace(target)
    except OSError:
        aside.replace(target)
        raise
    shutil.rmtree(aside)


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
