"""The tables of a store: what they hold, creating them, and upgrading those of an older schema."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.schema import CreateTable

from metaft.errors import StoreError
from metaft.traces.database import may_only_read

_Item = TypeVar("_Item")

STORE_SCHEMA = 2
"""Counts up when the tables change; a store of a newer schema is refused, an older upgraded."""

_IDS_PER_QUERY = 500  # below SQLite's oldest limit of 999 variables
_ATTEMPTS = 5
_SECONDS_BETWEEN_ATTEMPTS = 0.2

_METADATA = sa.MetaData()
FACTS = sa.Table(
    "metaft_store",
    _METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
# What queries filter on stands in columns of its own; the trace itself is one JSON text, so
# that a new field of a trace needs no new table.
TRACES = sa.Table(
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
# Since schema 2. A row stands for a run that some worker is making, or has left behind.
CLAIMS = sa.Table(
    "claims",
    _METADATA,
    sa.Column("trace_id", sa.String(64), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),  # seconds since 1970, database's clock
)
_STORED_SCHEMA = sa.select(FACTS.c.value).where(FACTS.c.name == "schema")


def prepare_tables(engine: sa.Engine) -> None:
    """Create or upgrade the tables where need be, and refuse those of a newer version.

    Processes that create the same store at once may trip over each other: the next look
    finds the tables. A store that may only be read is read as it is.

    Raises:
        StoreError: If the tables are of a newer schema.
    """
    schema = _try_often(engine)
    if schema > STORE_SCHEMA:
        raise StoreError(
            f"the store has schema {schema}; this version of metaft reads up to {STORE_SCHEMA}",
            "Update metaft, or give another --store",
        )


def chunks(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Cut keys, or traces, into lists that fit into one query, reading them as they are needed."""
    remaining = iter(items)
    while some := list(itertools.islice(remaining, _IDS_PER_QUERY)):
        yield some


def _try_often(engine: sa.Engine) -> int:
    for _ in range(_ATTEMPTS - 1):
        try:
            return _read_or_create(engine)
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            if may_only_read(error):
                break
            time.sleep(_SECONDS_BETWEEN_ATTEMPTS)
    return _read_or_create(engine)


def _read_or_create(engine: sa.Engine) -> int:
    """Return the schema of the tables, which are there afterwards, and up to date."""
    with engine.begin() as connection:
        if not sa.inspect(connection).has_table(FACTS.name):
            _create(connection, TRACES, FACTS)
        schema = connection.execute(_STORED_SCHEMA).scalar_one_or_none()
        if schema is None:
            _create(connection, CLAIMS)
            connection.execute(sa.insert(FACTS).values(name="schema", value=str(STORE_SCHEMA)))
            return STORE_SCHEMA
    return int(schema) if int(schema) >= STORE_SCHEMA else _upgrade(engine, int(schema))


def _upgrade(engine: sa.Engine, schema: int) -> int:
    """Add what schema 2 has; return the schema that the store has afterwards."""
    newer = sa.update(FACTS).where(FACTS.c.name == "schema", FACTS.c.value == str(schema))
    try:
        with engine.begin() as connection:
            _create(connection, CLAIMS)
            connection.execute(newer.values(value=str(STORE_SCHEMA)))
    except DBAPIError as error:
        if not may_only_read(error):
            raise
        return schema
    return STORE_SCHEMA


def _create(connection: sa.Connection, *tables: sa.Table) -> None:
    for table in tables:
        connection.execute(CreateTable(table, if_not_exists=True))
