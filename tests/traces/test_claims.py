"""Claims, over SQLite and PostgreSQL: one owner at a time, and nobody's work stored twice."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from metaft.errors import StoreError
from metaft.traces.claims import Claim, new_owner
from metaft.traces.store import TraceStore

if TYPE_CHECKING:
    from tests.traces.conftest import TraceFactory

_SHORT = 0.3
_CLAIMER_CODE = """
import sys, time
from pathlib import Path
from metaft.traces.claims import new_owner
from metaft.traces.store import TraceStore
store, owner, go = TraceStore(sys.argv[1]), new_owner(), Path(sys.argv[2])
while not go.exists():
    time.sleep(0.01)
print(*(key for key in map(str, range(40)) if store.claims.take(key, owner)))
"""


def test_a_run_has_one_owner_at_a_time(any_store: TraceStore) -> None:
    claim = any_store.claims.take("a", "first")
    assert claim == Claim("a", "first", 1)
    assert any_store.claims.take("a", "second") is None
    assert any_store.claims.take("a", "first") is None
    assert any_store.claims.owners({"a", "b"}) == {"a": "first"}


def test_a_stored_run_is_not_claimed(any_store: TraceStore, make_trace: TraceFactory) -> None:
    any_store.add(make_trace("a"))
    assert any_store.claims.take("a", "late") is None
    assert any_store.claims.owners({"a"}) == {}


def test_a_silent_owner_loses_its_claim(any_store: TraceStore) -> None:
    any_store.claims.take("a", "silent", _SHORT)
    time.sleep(2 * _SHORT)
    assert any_store.claims.owners({"a"}) == {}
    assert any_store.claims.take("a", "next") == Claim("a", "next", 2)


def test_a_renewed_claim_is_kept(any_store: TraceStore) -> None:
    claim = any_store.claims.take("a", "lively", _SHORT)
    assert claim
    assert any_store.claims.renew(claim)
    time.sleep(2 * _SHORT)
    assert any_store.claims.take("a", "next") is None


def test_a_late_worker_is_fenced(any_store: TraceStore, make_trace: TraceFactory) -> None:
    """It wakes up before, while and after the next one stores, and never gets through."""
    late = any_store.claims.take("a", "late", _SHORT)
    time.sleep(2 * _SHORT)
    current = any_store.claims.take("a", "next")
    assert late
    assert current
    ours = make_trace("a", reason="ours")
    assert not any_store.add(make_trace("a", reason="late"), late)
    assert not any_store.claims.renew(late)
    any_store.claims.give_back(late)
    assert any_store.claims.owners({"a"}) == {"a": "next"}
    assert any_store.add(ours, current)
    assert not any_store.add(make_trace("a", reason="late"), late)
    assert any_store.traces() == [ours]


def test_storing_ends_the_claim(any_store: TraceStore, make_trace: TraceFactory) -> None:
    claim = any_store.claims.take("a", "owner")
    assert any_store.add(make_trace("a"), claim)
    assert any_store.claims.owners({"a"}) == {}
    assert not any_store.add(make_trace("a"), claim)


def test_what_is_given_back_is_free_and_not_counted(any_store: TraceStore) -> None:
    for owner in ("first", "second"):
        claim = any_store.claims.take("a", owner)
        assert claim == Claim("a", owner, 1)
        any_store.claims.give_back(claim)
    any_store.claims.take("a", "third")
    any_store.claims.take("b", "third")
    any_store.claims.give_back_all(["third", "nobody"])
    assert any_store.claims.take("a", "fourth") == Claim("a", "fourth", 1)


def test_the_death_of_an_owner_is_counted_once(any_store: TraceStore) -> None:
    for attempt in (1, 2, 3, 4):
        assert any_store.claims.take("a", f"{attempt}") == Claim("a", f"{attempt}", attempt)
        assert any_store.claims.expire(f"{attempt}") == ["a"]
        assert any_store.claims.expire(f"{attempt}") == []
        assert any_store.claims.losses({"a", "b"}) == {"a": attempt}


def test_runs_recorded_anew_begin_with_the_first_attempt(
    any_store: TraceStore, make_trace: TraceFactory
) -> None:
    for owner in ("dead", "alive"):
        any_store.claims.take(owner, owner)
    any_store.claims.expire("dead")
    any_store.remove({"dead", "alive"})
    assert any_store.claims.take("dead", "next") == Claim("dead", "next", 1)
    assert any_store.claims.take("alive", "next") is None


def test_clocks_of_machines_do_not_matter(
    any_store: TraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for taking, renewing nor losing a claim: only the database's clock is read."""
    before = any_store.claims.now()
    assert before == pytest.approx(time.time(), abs=5)
    for clock in ("time", "monotonic"):
        monkeypatch.setattr(time, clock, lambda: 1e12)
    claim = any_store.claims.take("a", "from the future", _SHORT)
    assert claim
    assert any_store.claims.take("a", "other") is None
    assert 0 <= any_store.claims.now() - before < 60
    time.sleep(2 * _SHORT)
    assert any_store.claims.take("a", "other")


def test_many_claim_at_once_and_each_run_goes_to_one(any_store_url: str, tmp_path: Path) -> None:
    TraceStore(any_store_url).close()
    go = tmp_path / "go"
    claimers = [
        subprocess.Popen(
            [sys.executable, "-c", _CLAIMER_CODE, any_store_url, str(go)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    go.touch()
    outputs = [claimer.communicate(timeout=120) for claimer in claimers]
    assert [errors for _, errors in outputs] == [""] * 3
    taken = [key for keys, _ in outputs for key in keys.split()]
    assert sorted(taken, key=int) == [str(number) for number in range(40)]


def test_a_run_is_not_claimed_while_its_trace_is_being_stored(
    any_store: TraceStore, make_trace: TraceFactory
) -> None:
    """The one who waits for the row sees the trace that was stored meanwhile."""
    claim = any_store.claims.take("a", "owner", _SHORT)
    assert claim
    time.sleep(2 * _SHORT)
    taken: list[Claim | None] = []
    waiting = threading.Thread(target=lambda: taken.append(any_store.claims.take("a", "other")))
    with any_store._engine.begin() as connection:
        assert any_store.claims.settle(connection, claim)
        waiting.start()
        time.sleep(_SHORT)
        assert not taken
        any_store._add_absent(connection, [make_trace("a")])
    waiting.join()
    assert taken == [None]


def test_a_store_of_the_first_schema_is_upgraded(
    any_store: TraceStore, any_store_url: str, make_trace: TraceFactory
) -> None:
    _downgrade(any_store, make_trace)
    upgraded = TraceStore(any_store_url)
    assert upgraded.ids() == {"a"}
    assert upgraded.claims.take("b", new_owner())
    assert _schema(upgraded) == "2"
    upgraded.close()


def test_a_read_only_store_of_the_first_schema_is_read_as_it_is(
    store: TraceStore, store_url: str, make_trace: TraceFactory
) -> None:
    _downgrade(store, make_trace)
    path = store_url.removeprefix("sqlite:///")
    read_only = TraceStore(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert read_only.ids() == {"a"}
    with pytest.raises(StoreError, match=r"readonly.*Give a store that you may write to"):
        read_only.check_writable()
    tables = sqlite3.connect(path).execute("SELECT name FROM sqlite_master").fetchall()
    assert ("claims",) not in tables


def test_a_read_only_user_of_postgresql_reads(any_store: TraceStore, any_store_url: str) -> None:
    if any_store_url.startswith("sqlite"):
        pytest.skip("SQLite has no users")
    _downgrade(any_store)
    with any_store._engine.begin() as connection:
        connection.execute(sa.text("DROP ROLE IF EXISTS reader"))
        connection.execute(sa.text("CREATE ROLE reader LOGIN"))
        connection.execute(sa.text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"))
    reader = TraceStore(any_store_url.replace("metaft@", "reader@"))
    assert reader.ids() == set()
    with pytest.raises(StoreError, match=r"permission denied.*Give a store that you may write to"):
        reader.check_writable()
    reader.close()
    with any_store._engine.begin() as connection:
        connection.execute(sa.text("DROP OWNED BY reader"))
        connection.execute(sa.text("DROP ROLE reader"))


def _downgrade(store: TraceStore, make_trace: TraceFactory | None = None) -> None:
    """Make a store what the first schema was, and put a trace into it."""
    if make_trace:
        store.add(make_trace("a"))
    with store._engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE claims"))
        connection.execute(sa.text("UPDATE metaft_store SET value = '1'"))


def _schema(store: TraceStore) -> str:
    with store._engine.connect() as connection:
        return str(connection.execute(sa.text("SELECT value FROM metaft_store")).scalar_one())
