"""TraceStore: one row per run in any SQLAlchemy database, written by many processes."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.schema import CreateTable

from metaft.errors import StoreError
from metaft.files import user_data_folder
from metaft.traces.database import open_database, readable_errors
from metaft.traces.trace import Trace

if TYPE_CHECKING:
    import pandas

STORE_SCHEMA = 1
"""Counts up when the tables change; a store of a newer schema is refused."""

_IDS_PER_QUERY = 500  # below SQLite's oldest limit of 999 variables
_ATTEMPTS = 5
_SECONDS_BETWEEN_ATTEMPTS = 0.2

_METADATA = sa.MetaData()
_FACTS = sa.Table(
    "metaft_store",
    _METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
# What queries filter on stands in columns of its own; the trace itself is one JSON text, so
# that a new field of a trace needs no new table.
_TRACES = sa.Table(
    "traces",
    _METADATA,
    sa.Column("trace_id", sa.String(64), primary_key=True),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("backbone", sa.Text, nullable=False),
    sa.Column("train_rows", sa.Integer, nullable=False),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("created_at", sa.String(40), nullable=False),
    sa.Column("trace", sa.Text, nullable=False),
)
_FILTERS = ("task", "kind", "backbone", "train_rows", "seed", "status", "created_at")


def default_store_url() -> str:
    """Return the URL of the store in the user's data folder."""
    return f"sqlite:///{user_data_folder() / 'traces.db'}"


class TraceStore:
    """One row per run, keyed by its `trace_id`.

    Every write is one short transaction, so a process that dies loses at most the trace it
    was about to write, and any number of processes may write at once.

    Args:
        url: A SQLAlchemy URL: `sqlite:///traces.db`, `postgresql+psycopg://host/name`.
        must_exist: Refuse an SQLite file that is not there yet instead of creating it.

    Raises:
        StoreError: If the URL is malformed, its driver or folder is missing, the database
            cannot be opened, or its schema is newer than this version of metaft. Every
            method raises it likewise where the database refuses.
    """

    def __init__(self, url: str, *, must_exist: bool = False) -> None:
        self.url = url
        self._engine = open_database(url, must_exist=must_exist)
        with readable_errors(self._engine):
            _prepare_tables(self._engine)

    def add(self, trace: Trace) -> bool:
        """Store a trace unless its run is stored already, and return whether it was new."""
        return self.add_all([trace]) == 1

    def add_all(self, traces: Iterable[Trace]) -> int:
        """Store those traces whose runs are not stored yet, and return how many were new."""
        by_id = {trace.trace_id: trace for trace in traces}
        with readable_errors(self._engine):
            return sum(self._add_absent([by_id[key] for key in ids]) for ids in _chunks(by_id))

    def ids(self, among: Collection[str] | None = None) -> set[str]:
        """Return the keys of all stored runs, or of those `among` the given ones."""
        query = sa.select(_TRACES.c.trace_id)
        return {row.trace_id for row in self._rows(query, among)}

    def traces(self, among: Collection[str] | None = None, **equal: str | int) -> list[Trace]:
        """Return stored traces in the order of their keys.

        Args:
            among: Keys to look for; None for all.
            equal: Column -> value, of `task`, `kind`, `backbone`, `train_rows`, `seed`,
                `status`.
        """
        query = sa.select(_TRACES.c.trace).order_by(_TRACES.c.trace_id)
        for column, value in equal.items():
            query = query.where(_TRACES.c[column] == value)
        return [Trace.from_json(row.trace) for row in self._rows(query, among)]

    def remove(self, ids: Collection[str]) -> int:
        """Forget runs, so that they are recorded anew, and return how many there were."""
        removed = 0
        with readable_errors(self._engine), self._engine.begin() as connection:
            for chunk in _chunks(ids):
                statement = sa.delete(_TRACES).where(_TRACES.c.trace_id.in_(chunk))
                removed += connection.execute(statement).rowcount
        return removed

    def check_writable(self) -> None:
        """Find out whether traces can be written, and change nothing."""
        same = sa.update(_FACTS).where(_FACTS.c.name == "schema").values(value=str(STORE_SCHEMA))
        with readable_errors(self._engine), self._engine.begin() as connection:
            connection.execute(same)

    def to_frame(self) -> pandas.DataFrame:
        """Return one row per run, see `metaft.traces.table`."""
        from metaft.traces.table import frame_from_traces

        return frame_from_traces(self.traces())

    def export(self, path: Path) -> int:
        """Write every trace to a Parquet file (zstd), and return how many there are."""
        from metaft.traces.table import write_parquet

        return write_parquet(self.traces(), path)

    def import_file(self, path: Path) -> int:
        """Store the traces of an exported Parquet file, and return how many were new."""
        from metaft.traces.table import read_parquet

        return self.add_all(read_parquet(path))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _rows(self, query: sa.Select[Any], among: Collection[str] | None) -> list[sa.Row[Any]]:
        parts = [query]
        if among is not None:
            chunks = _chunks(sorted(among))
            parts = [query.where(_TRACES.c.trace_id.in_(chunk)) for chunk in chunks]
        with readable_errors(self._engine), self._engine.connect() as connection:
            return [row for part in parts for row in connection.execute(part)]

    def _add_absent(self, traces: list[Trace]) -> int:
        """Insert what is absent; another process may insert between our look and our write."""
        for _ in range(_ATTEMPTS):
            known = self.ids([trace.trace_id for trace in traces])
            absent = [_row_of(trace) for trace in traces if trace.trace_id not in known]
            if not absent:
                return 0
            try:
                with self._engine.begin() as connection:
                    connection.execute(sa.insert(_TRACES), absent)
                return len(absent)
            except IntegrityError:
                continue
        raise StoreError(
            f"other processes stored the same runs {_ATTEMPTS} times in between",
            "Call again",
        )


def _row_of(trace: Trace) -> dict[str, Any]:
    columns = {name: getattr(trace, name) for name in ("trace_id", *_FILTERS)}
    return {**columns, "trace": trace.to_json()}


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """Cut keys into lists that fit into one query."""
    keys = list(ids)
    for start in range(0, len(keys), _IDS_PER_QUERY):
        yield keys[start : start + _IDS_PER_QUERY]


def _prepare_tables(engine: sa.Engine) -> None:
    """Create the tables where they are missing, and refuse those of a newer version.

    Processes that create the same store at once may trip over each other: the next look
    finds the tables.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            schema = _read_or_create(engine)
            break
        except (IntegrityError, OperationalError, ProgrammingError):
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_SECONDS_BETWEEN_ATTEMPTS)
    if schema > STORE_SCHEMA:
        raise StoreError(
            f"the store has schema {schema}; this version of metaft reads up to {STORE_SCHEMA}",
            "Update metaft, or give another --store",
        )


def _read_or_create(engine: sa.Engine) -> int:
    """Return the schema of the tables, which are there afterwards."""
    stored = sa.select(_FACTS.c.value).where(_FACTS.c.name == "schema")
    with engine.begin() as connection:
        if not sa.inspect(connection).has_table(_FACTS.name):
            for table in (_TRACES, _FACTS):
                connection.execute(CreateTable(table, if_not_exists=True))
        schema = connection.execute(stored).scalar_one_or_none()
        if schema is None:
            connection.execute(sa.insert(_FACTS).values(name="schema", value=str(STORE_SCHEMA)))
        return STORE_SCHEMA if schema is None else int(schema)
