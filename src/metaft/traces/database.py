"""Opening the database behind a store, and turning its errors into messages with a cure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from metaft.errors import StoreError
from metaft.files import user_data_folder

_BUSY_SECONDS = 60.0
_CLOCKS = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch from clock_timestamp())",
}

# How databases say that a store may be read and not written.
_READ_ONLY = ("readonly database", "read-only", "permission denied")
_FULL = "Free some space and call again: what was stored before is safe"

# What a database says -> the cure; the first that fits.
_CURES: tuple[tuple[str, str], ...] = (
    *(
        (said, "Give a store that you may write to, or change its permissions")
        for said in _READ_ONLY
    ),
    (
        "is locked",
        "Stop whatever holds it open in one long transaction, and call again",
    ),
    ("disk is full", _FULL),
    ("no space left", _FULL),
    ("no such table: claims", "Open it once where it may be written, so that it is upgraded"),
    ("password", "Correct the user and the password in --store"),
    ("does not exist", "Create it first (createdb NAME), or correct --store"),
    ("not a database", "Give the file of a metaft store, or a new name"),
    ("malformed", "Restore it from an export: the file was damaged outside metaft"),
    ("unable to open", "Check that the folder exists and that you may write to it"),
    ("connection", "Check the address and that the server runs"),
)


def open_database(url: str, *, must_exist: bool = False) -> sa.Engine:
    """Open a database without touching its tables.

    Args:
        url: A SQLAlchemy URL.
        must_exist: Refuse an SQLite file that is not there yet.

    Raises:
        StoreError: If the URL is malformed, or its driver, folder or file is missing.
    """
    parsed = _parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        _prepare_file(parsed, must_exist)
    try:
        return _create_engine(parsed)
    except ImportError as error:
        raise StoreError(
            f"the store {_shown(parsed)} needs the Python package {error.name!r}, "
            "which is not installed",
            f"Install it: pip install {error.name}",
        ) from error


def absolute_url(url: str) -> str:
    """Return a URL that names the same database from any working folder."""
    parsed = _parse_url(url)
    if parsed.get_backend_name() == "sqlite" and (parsed.database or ":memory:") == ":memory:":
        raise StoreError(
            f"the store {url!r} lies in the memory of one process, and what others record would "
            "be lost",
            "Give a file, such as sqlite:///traces.db",
        )
    if parsed.get_backend_name() != "sqlite" or not _file_of(parsed):
        return url
    database = str(Path(parsed.database or "").absolute())
    return parsed.set(database=database).render_as_string(hide_password=False)


@contextmanager
def readable_errors(engine: sa.Engine) -> Iterator[None]:
    """Turn an error of the database into a StoreError that states its cure."""
    try:
        yield
    except SQLAlchemyError as error:
        said = _words_of(error)
        cures = [cure for sign, cure in _CURES if sign in said.lower()]
        raise StoreError(
            f"the store {_shown(engine.url)} failed: {said}",
            cures[0] if cures else "Check the store's address and file",
        ) from error


def may_only_read(error: SQLAlchemyError) -> bool:
    """Say whether a database refused because it may not be written."""
    return any(sign in _words_of(error).lower() for sign in _READ_ONLY)


def clock_of(engine: sa.Engine) -> sa.ColumnElement[float]:
    """Return the expression of a database's own clock, seconds since 1970.

    Machines that share a store may disagree about the time; by this clock they do not.

    Raises:
        StoreError: If the database is neither SQLite nor PostgreSQL.
    """
    clock = _CLOCKS.get(engine.dialect.name)
    if clock is None:
        raise StoreError(
            f"the store {_shown(engine.url)} is on {engine.dialect.name}; a store is on "
            f"{' or '.join(_CLOCKS)}",
            "Give another --store",
        )
    return sa.literal_column(clock, sa.Double)


def inserting(engine: sa.Engine, table: sa.Table) -> Any:
    """Return an INSERT that knows what to do about a key that is there already."""
    dialects = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    return dialects[engine.dialect.name](table)


def _words_of(error: SQLAlchemyError) -> str:
    original = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(original).split())


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise StoreError(
            f"the store {url!r} is no database URL; such as sqlite:///traces.db or "
            "postgresql+psycopg://user@host/name is allowed",
            "For a file, put sqlite:/// before its path",
        ) from error
    return parsed


def _prepare_file(url: URL, must_exist: bool) -> None:
    """Create the user's own data folder; any other folder must be there already."""
    file = _file_of(url)
    if not file:
        return
    if must_exist and not file.is_file():
        raise StoreError(
            f"there is no store at {file}",
            "Record traces first (metaft meta-train), or correct --store",
        )
    if file.parent == user_data_folder():
        file.parent.mkdir(parents=True, exist_ok=True)
    if not file.parent.is_dir():
        raise StoreError(
            f"the folder {file.parent} of the store {file.name} does not exist",
            f"Create it: mkdir -p {file.parent}",
        )


def _file_of(url: URL) -> Path | None:
    """Return the file that a URL of SQLite names by its path, where it does."""
    name = url.database or ":memory:"
    return None if name == ":memory:" or name.startswith("file:") else Path(name)


def _create_engine(url: URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True, isolation_level="READ COMMITTED")
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
    sa.event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    """Let readers and one writer work at once, and survive a power cut.

    Source: https://www.sqlite.org/wal.html
    """
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        _switch_to_wal(cursor)
    cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    """Switch once; a file that may only be read keeps the journal it has."""
    import sqlite3

    try:
        cursor.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):
            raise
