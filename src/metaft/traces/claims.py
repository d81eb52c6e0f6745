"""Claims: which worker makes which run, so that no two make the same one at once.

A claim is a lease. Its worker renews it while the run lasts; a worker that dies stops doing so,
and its claim comes back by itself. All times are taken from the database's own clock, so a
machine whose clock is wrong does no harm. A worker that wakes up late finds its claim gone, since
a claim is known by its owner and its attempt.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from metaft.traces.database import clock_of, inserting, readable_errors
from metaft.traces.tables import CLAIMS, TRACES, chunks

LEASE_SECONDS = 30.0
"""So long after its last sign of life a worker's claim comes back."""

MAX_ATTEMPTS = 3
"""So many workers may die of a run before it is set aside."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make a run, until it expires.

    Attributes:
        trace_id: Key of the run.
        owner: The worker, see `new_owner`.
        attempt: 1, and one more for every worker that was lost over this run before.
    """

    trace_id: str
    owner: str
    attempt: int


def new_owner() -> str:
    """Return a name that no other worker has."""
    return uuid.uuid4().hex


class Claims:
    """The claims of a store; every method is one short transaction.

    Args:
        engine: Of the store.

    Raises:
        StoreError: If the database is one that has no such clock or statements. Every method
            raises it where the database refuses.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._now = clock_of(engine)

    def now(self) -> float:
        """Return the time on the database's clock, seconds since 1970."""
        with readable_errors(self._engine), self._engine.connect() as connection:
            return float(connection.execute(sa.select(self._now)).scalar_one())

    def take(self, trace_id: str, owner: str, lease_seconds: float = LEASE_SECONDS) -> Claim | None:
        """Claim a run, unless it is stored or someone else's claim on it has not expired."""
        inserted = inserting(self._engine, CLAIMS).values(
            trace_id=trace_id, owner=owner, attempt=1, expires_at=self._now + lease_seconds
        )
        statement = inserted.on_conflict_do_update(
            index_elements=[CLAIMS.c.trace_id],
            set_={
                "owner": owner,
                "attempt": CLAIMS.c.attempt + 1,
                "expires_at": inserted.excluded.expires_at,
            },
            where=CLAIMS.c.expires_at <= self._now,
        ).returning(CLAIMS.c.attempt)
        with readable_errors(self._engine), self._engine.begin() as connection:
            attempt = connection.execute(statement).scalar_one_or_none()
            # Only now: a trace that was stored while we waited for the row is seen here.
            if attempt is None or connection.execute(_is_stored(trace_id)).first():
                connection.rollback()
                return None
        return Claim(trace_id, owner, attempt)

    def renew(self, claim: Claim, lease_seconds: float = LEASE_SECONDS) -> bool:
        """Keep a claim for so long from now; False if it is another's by now."""
        statement = sa.update(CLAIMS).where(*_is(claim))
        return self._execute(statement.values(expires_at=self._now + lease_seconds)) == 1

    def give_back(self, claim: Claim) -> None:
        """Let others have a run at once, as if this attempt had not been."""
        self._give_back_where(*_is(claim))

    def give_back_all(self, owners: Collection[str]) -> None:
        """Let others have at once what some workers held, as if they had never claimed it."""
        self._give_back_where(CLAIMS.c.owner.in_(list(owners)))

    def expire(self, owner: str) -> list[str]:
        """Let others have at once what a worker held that has died; return the runs' keys."""
        lost = sa.update(CLAIMS).where(CLAIMS.c.owner == owner, CLAIMS.c.expires_at > 0)
        statement = lost.values(expires_at=0.0).returning(CLAIMS.c.trace_id)
        with readable_errors(self._engine), self._engine.begin() as connection:
            return [row.trace_id for row in connection.execute(statement)]

    def owners(self, among: Collection[str]) -> dict[str, str]:
        """Return key -> owner of those runs that are claimed now."""
        held = sa.select(CLAIMS.c.trace_id, CLAIMS.c.owner).where(CLAIMS.c.expires_at > self._now)
        return self._pairs(held, among)

    def losses(self, among: Collection[str]) -> dict[str, int]:
        """Return key -> how many workers were lost over it, of those runs that are not claimed."""
        lost = sa.select(CLAIMS.c.trace_id, CLAIMS.c.attempt)
        return self._pairs(lost.where(CLAIMS.c.expires_at <= self._now), among)

    def _pairs(self, query: sa.Select[Any], among: Collection[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with readable_errors(self._engine), self._engine.connect() as connection:
            for chunk in chunks(sorted(among)):
                rows = connection.execute(query.where(CLAIMS.c.trace_id.in_(chunk)))
                found.update((key, value) for key, value in rows)
        return found

    def settle(self, connection: sa.Connection, claim: Claim) -> bool:
        """End a claim within the transaction that stores its trace; False if it is another's."""
        return connection.execute(sa.delete(CLAIMS).where(*_is(claim))).rowcount == 1

    def forget(self, connection: sa.Connection, ids: Collection[str]) -> None:
        """Forget the attempts at runs that nobody is making."""
        among = CLAIMS.c.trace_id.in_(list(ids))
        connection.execute(sa.delete(CLAIMS).where(among, CLAIMS.c.expires_at <= self._now))

    def _give_back_where(self, *conditions: sa.ColumnElement[bool]) -> None:
        uncounted = {"attempt": CLAIMS.c.attempt - 1, "expires_at": 0.0}
        held = (*conditions, CLAIMS.c.expires_at > 0)
        self._execute(sa.update(CLAIMS).where(*held).values(uncounted))

    def _execute(self, statement: sa.Update) -> int:
        with readable_errors(self._engine), self._engine.begin() as connection:
            return connection.execute(statement).rowcount


def _is(claim: Claim) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        CLAIMS.c.trace_id == claim.trace_id,
        CLAIMS.c.owner == claim.owner,
        CLAIMS.c.attempt == claim.attempt,
    )


def _is_stored(trace_id: str) -> sa.Select[Any]:
    return sa.select(TRACES.c.trace_id).where(TRACES.c.trace_id == trace_id)
