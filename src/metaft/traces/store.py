"""TraceStore: one row per run in any SQLAlchemy database, written by many processes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from metaft.files import user_data_folder
from metaft.traces.claims import Claim, Claims
from metaft.traces.database import inserting, open_database, readable_errors
from metaft.traces.tables import FACTS, STORE_SCHEMA, TRACES, chunks, prepare_tables
from metaft.traces.trace import Trace

_ROWS_AT_ONCE = 1000  # of a stream: some 20 MiB as traces
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
        self.claims = Claims(self._engine)
        with readable_errors(self._engine):
            prepare_tables(self._engine)

    def add(self, trace: Trace, claim: Claim | None = None) -> bool:
        """Store a trace unless its run is stored already, and return whether it was new.

        Under a claim, storing and giving the claim up are one transaction. A worker that has
        lost its claim, since it was silent for too long, stores nothing: another makes the run.
        """
        if claim is None:
            return self.add_all([trace]) == 1
        with readable_errors(self._engine), self._engine.begin() as connection:
            is_ours = self.claims.settle(connection, claim)
            return is_ours and self._add_absent(connection, [trace]) == 1

    def add_all(self, traces: Iterable[Trace]) -> int:
        """Store those traces whose runs are not stored yet, and return how many were new."""
        new = 0
        for some in chunks(traces):
            with readable_errors(self._engine), self._engine.begin() as connection:
                new += self._add_absent(connection, some)
        return new

    def ids(self, among: Collection[str] | None = None) -> set[str]:
        """Return the keys of all stored runs, or of those `among` the given ones."""
        query = sa.select(TRACES.c.trace_id)
        return {row.trace_id for row in self._rows(query, among)}

    def traces(self, among: Collection[str] | None = None, **equal: str | int) -> list[Trace]:
        """Return stored traces in the order of their keys.

        Args:
            among: Keys to look for; None for all.
            equal: Column -> value, of `task`, `kind`, `backbone`, `train_rows`, `seed`,
                `status`.
        """
        query = sa.select(TRACES.c.trace).order_by(TRACES.c.trace_id)
        for column, value in equal.items():
            query = query.where(TRACES.c[column] == value)
        return [Trace.from_json(row.trace) for row in self._rows(query, among)]

    def stream(self) -> Iterator[Trace]:
        """Yield all stored traces in the order of their keys, few of them in memory at once."""
        query = sa.select(TRACES.c.trace).order_by(TRACES.c.trace_id)
        with readable_errors(self._engine), self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query):
                yield Trace.from_json(row.trace)

    def remove(self, ids: Collection[str]) -> int:
        """Forget runs, so that they are recorded anew, and return how many there were.

        What a worker is making right now stays its own.
        """
        removed = 0
        with readable_errors(self._engine), self._engine.begin() as connection:
            for chunk in chunks(ids):
                self.claims.forget(connection, chunk)
                statement = sa.delete(TRACES).where(TRACES.c.trace_id.in_(chunk))
                removed += connection.execute(statement).rowcount
        return removed

    def check_writable(self) -> None:
        """Find out whether traces can be written, and change nothing."""
        same = sa.update(FACTS).where(FACTS.c.name == "schema").values(value=str(STORE_SCHEMA))
        with readable_errors(self._engine), self._engine.begin() as connection:
            connection.execute(same)

    def export(self, path: Path) -> int:
        """Write every trace to a Parquet file (zstd), and return how many there are."""
        from metaft.traces.table import write_parquet

        return write_parquet(self.stream(), path)

    def import_file(self, path: Path) -> int:
        """Store the traces of a file (Parquet or JSON lines), and return how many were new."""
        from metaft.traces.table import stream_traces

        return self.add_all(stream_traces(path))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _rows(self, query: sa.Select[Any], among: Collection[str] | None) -> list[sa.Row[Any]]:
        parts = [query]
        if among is not None:
            parts = [query.where(TRACES.c.trace_id.in_(chunk)) for chunk in chunks(sorted(among))]
        with readable_errors(self._engine), self._engine.connect() as connection:
            return [row for part in parts for row in connection.execute(part)]

    def _add_absent(self, connection: sa.Connection, traces: list[Trace]) -> int:
        """Insert what is absent in one statement, so that no other process comes between."""
        statement = inserting(self._engine, TRACES).on_conflict_do_nothing()
        statement = statement.execution_options(preserve_rowcount=True)
        return connection.execute(statement, [_row_of(trace) for trace in traces]).rowcount


def _row_of(trace: Trace) -> dict[str, Any]:
    columns = {name: getattr(trace, name) for name in ("trace_id", *_FILTERS)}
    return {**columns, "trace": trace.to_json()}
