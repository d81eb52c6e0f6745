from __future__ import annotations

from concurrent.futures import Future

import pytest

from metaft.errors import RunFailedError
from metaft.traces.crew import Crew
from metaft.traces.store import TraceStore


class _Pool:
    """A pool of this process; its workers die so many times before one ends its job."""

    workers = 2

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths
        self.submitted = 0
        self.is_stopped = False

    def submit(self, function, *arguments):
        self.submitted += 1
        future: Future = Future()
        if self.submitted <= self.deaths:
            future.set_exception(OSError("killed"))
            return future
        try:
            future.set_result(function(*arguments))
        except ValueError as error:
            future.set_exception(error)
        return future

    def is_death(self, error: Exception) -> bool:
        return isinstance(error, OSError)

    def stop(self) -> None:
        self.is_stopped = True


def _say(what: str, owner: str) -> tuple[str, str]:
    return what, owner


def test_workers_say_what_they_did_under_names_of_their_own(store: TraceStore) -> None:
    pool, looks = _Pool(deaths=0), []
    crew = Crew(pool, store.claims, _say, "done")
    said = crew.work(2, lambda: looks.append(len(crew.owners)) or 0.1)
    assert [what for what, _ in said] == ["done"] * 2
    assert {owner for _, owner in said} == crew.owners
    assert len(crew.owners) == 2
    assert looks[-1] == 2, "there is a look at the end"
    assert pool.is_stopped


def test_the_dead_are_replaced(store: TraceStore) -> None:
    pool = _Pool(deaths=3)
    said = Crew(pool, store.claims, _say, "done").work(2, lambda: 0.1)
    assert len(said) == 2
    assert pool.submitted == 5


def test_workers_that_die_again_and_again_end_the_work(store: TraceStore) -> None:
    pool = _Pool(deaths=1_000)
    with pytest.raises(RunFailedError, match="died before they had anything to do"):
        Crew(pool, store.claims, _say, "done").work(2, lambda: 0.1)
    assert pool.submitted > pool.workers
    assert pool.is_stopped


def test_an_error_of_the_work_itself_is_raised(store: TraceStore) -> None:
    def fail(_owner: str) -> None:
        raise ValueError("of its own")

    pool = _Pool(deaths=0)
    with pytest.raises(ValueError, match="of its own"):
        Crew(pool, store.claims, fail).work(1, lambda: 0.1)
    assert pool.is_stopped


def test_nobody_is_waited_for_where_all_is_done(store: TraceStore) -> None:
    pool = _Pool(deaths=0)
    pool.submit = lambda *_: Future()  # It never ends.
    assert Crew(pool, store.claims, _say, "done").work(1, lambda: None) == []
    assert pool.is_stopped
