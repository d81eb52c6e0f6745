"""The store: nothing twice, nothing lost, and errors that state their cure."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from metaft.errors import StoreError
from metaft.files import user_data_folder
from metaft.traces.claims import Claim
from metaft.traces.store import TraceStore, default_store_url
from metaft.traces.trace import Trace

if TYPE_CHECKING:
    from tests.traces.conftest import TraceFactory

_WRITERS = 4
_TRACES_EACH = 60
_SHARED_TRACES = 20
_WRITER_CODE = """
import sys, time
from collections.abc import Iterator
from pathlib import Path
from metaft.traces.store import TraceStore
from metaft.traces.trace import Trace
traces = [Trace.from_json(line) for line in Path(sys.argv[2]).read_text().splitlines()]
Path(sys.argv[2]).with_suffix(".ready").touch()
while not Path(sys.argv[2]).with_name("go").exists():
    time.sleep(0.01)
store = TraceStore(sys.argv[1])
print(sum(store.add(trace) for trace in traces))
"""


def test_a_run_is_stored_once(any_store: TraceStore, make_trace: TraceFactory) -> None:
    first, second = make_trace("a"), make_trace("a", status="failed")
    assert [any_store.add(first), any_store.add(second)] == [True, False]
    assert any_store.traces() == [first]


def test_add_all_counts_what_is_new(any_store: TraceStore, make_trace: TraceFactory) -> None:
    any_store.add(make_trace("0001"))
    traces = [make_trace(f"{number:04}") for number in range(1200)]  # more than one chunk
    assert any_store.add_all(traces) == 1199
    assert any_store.ids() == {trace.trace_id for trace in traces}
    assert any_store.add_all(traces) == 0


def test_what_was_read_before_an_error_is_stored(
    any_store: TraceStore, make_trace: TraceFactory
) -> None:
    """Traces are read as they are stored: no more than one query's are in memory at once."""

    def broken_after_600() -> Iterator[Trace]:
        yield from (make_trace(f"{number:032}") for number in range(600))
        raise OSError("the file broke off")

    with pytest.raises(OSError, match="broke off"):
        any_store.add_all(broken_after_600())
    assert len(any_store.ids()) == 500


def test_a_stream_gives_all_traces_in_order(
    any_store: TraceStore, make_trace: TraceFactory
) -> None:
    any_store.add_all(make_trace(f"{number:032}") for number in reversed(range(1200)))
    assert list(any_store.stream()) == any_store.traces()


def test_traces_are_filtered(any_store: TraceStore, make_trace: TraceFactory) -> None:
    any_store.add_all([make_trace("a", task="x"), make_trace("b", train_rows=128), make_trace("c")])
    assert [trace.trace_id for trace in any_store.traces(task="tiny")] == ["b", "c"]
    assert [trace.trace_id for trace in any_store.traces(task="tiny", train_rows=128)] == ["b"]
    assert [trace.trace_id for trace in any_store.traces({"a", "c", "unknown"})] == ["a", "c"]
    assert any_store.ids({"b", "unknown"}) == {"b"}


def test_removed_runs_are_recorded_anew(any_store: TraceStore, make_trace: TraceFactory) -> None:
    any_store.add_all([make_trace("a"), make_trace("b")])
    assert any_store.remove({"a", "unknown"}) == 1
    assert any_store.ids() == {"b"}
    assert any_store.add(make_trace("a"))


def test_sqlite_survives_a_power_cut(store: TraceStore, store_url: str) -> None:
    engine = store._engine
    with engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2  # FULL
        assert connection.execute(sa.text("PRAGMA busy_timeout")).scalar() == 60_000


def test_many_processes_write_at_once(
    any_store_url: str, tmp_path: Path, make_trace: TraceFactory
) -> None:
    """No trace is lost, none is stored twice, and nobody hears that the store is locked."""
    shared = [make_trace(f"shared-{number}") for number in range(_SHARED_TRACES)]
    writers = []
    for writer in range(_WRITERS):
        own = [make_trace(f"{writer}-{number}") for number in range(_TRACES_EACH)]
        writers.append(_start_writer(any_store_url, tmp_path / f"{writer}.jsonl", [*own, *shared]))
    while len(list(tmp_path.glob("*.ready"))) < _WRITERS:
        time.sleep(0.01)
    (tmp_path / "go").touch()
    outputs = [writer.communicate(timeout=60) for writer in writers]
    assert [errors for _, errors in outputs] == [""] * _WRITERS
    total = _WRITERS * _TRACES_EACH + _SHARED_TRACES
    assert sum(int(new) for new, _ in outputs) == total
    assert len(TraceStore(any_store_url).ids()) == total
    _check_integrity(any_store_url)


def test_default_store_makes_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_trace: TraceFactory
) -> None:
    monkeypatch.setenv("METAFT_HOME", str(tmp_path / "new" / "home"))
    TraceStore(default_store_url()).add(make_trace())
    assert (user_data_folder() / "traces.db").is_file()


def test_missing_folder_is_named_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=rf"folder {tmp_path}/no .*mkdir -p {tmp_path}/no"):
        TraceStore(f"sqlite:///{tmp_path}/no/traces.db")


def test_store_that_must_exist_is_not_created(store_url: str) -> None:
    with pytest.raises(StoreError, match=r"there is no store at .*Record traces first"):
        TraceStore(store_url, must_exist=True)
    assert not Path(store_url.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("traces.db", "'traces.db' is no database URL.*put sqlite:/// before its path"),
        ("nosuch://host/name", "'nosuch://host/name' is no database URL"),
        ("mysql+pymysql://host/name", "needs the Python package 'pymysql'.*pip install pymysql"),
    ],
)
def test_bad_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        TraceStore(url)


def test_password_is_not_shown() -> None:
    with pytest.raises(StoreError) as raised:
        TraceStore("mysql+pymysql://user:secret@host/name")
    assert "secret" not in str(raised.value)


def test_store_of_a_newer_schema_is_refused(any_store: TraceStore, any_store_url: str) -> None:
    with any_store._engine.begin() as connection:
        connection.execute(sa.text("UPDATE metaft_store SET value = '99'"))
    with pytest.raises(StoreError, match=r"schema 99; .* up to 2\. Update metaft"):
        TraceStore(any_store_url)


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    path.write_text("something else " * 100)
    with pytest.raises(StoreError, match=r"not a database. Give the file of a metaft store"):
        TraceStore(f"sqlite:///{path}")


def test_read_only_store_is_read_but_not_written(
    store: TraceStore, store_url: str, make_trace: TraceFactory
) -> None:
    store.add(make_trace("a"))
    path = store_url.removeprefix("sqlite:///")
    read_only = TraceStore(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert read_only.ids() == {"a"}
    with pytest.raises(StoreError, match=r"readonly.*Give a store that you may write to"):
        read_only.check_writable()
    with pytest.raises(StoreError, match="readonly"):
        read_only.add(make_trace("b"))


def test_a_full_disk_is_named_and_loses_nothing(
    store: TraceStore, make_trace: TraceFactory
) -> None:
    def limit_pages(pages: int) -> None:
        with store._engine.connect() as connection:  # The pool hands out the same one again.
            connection.execute(sa.text(f"PRAGMA max_page_count = {pages}"))

    limit_pages(20)
    stored: set[str] = set()
    with pytest.raises(StoreError, match=r"disk is full\. Free some space and call again"):
        _fill(store, make_trace, stored)
    assert store.ids() == stored != set()
    limit_pages(1000)
    late = store.claims.take(f"{len(stored)}", "another") or Claim(f"{len(stored)}", "owner", 1)
    assert store.add(make_trace(late.trace_id), late)
    _check_integrity(store.url)


def test_parquet_goes_into_another_store_once(
    any_store: TraceStore, tmp_path: Path, make_trace: TraceFactory
) -> None:
    traces = [make_trace("a"), make_trace("b", **_without_scores())]
    any_store.add_all(traces)
    assert any_store.export(tmp_path / "traces.parquet") == 2
    other = TraceStore(f"sqlite:///{tmp_path / 'other.db'}")
    assert other.import_file(tmp_path / "traces.parquet") == 2
    assert other.import_file(tmp_path / "traces.parquet") == 0
    assert other.traces() == any_store.traces() == traces


def _fill(store: TraceStore, make_trace: TraceFactory, stored: set[str]) -> None:
    for number in range(1000):
        claim = store.claims.take(f"{number}", "owner")
        assert store.add(make_trace(f"{number}"), claim)
        stored.add(f"{number}")


def _check_integrity(url: str) -> None:
    if url.startswith("sqlite"):
        database = sqlite3.connect(url.removeprefix("sqlite:///"))
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _without_scores() -> dict[str, object]:
    return {
        "status": "diverged",
        "reason": "the loss was nan",
        "curve": (),
        "best_epoch": 0,
        "validation": {},
        "test": {},
    }


def _start_writer(url: str, path: Path, traces: list[Trace]) -> subprocess.Popen[str]:
    """Start a process that creates the store and writes traces as soon as `go` is there."""
    path.write_text("\n".join(trace.to_json() for trace in traces))
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER_CODE, url, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
