"""Crew: workers that are kept at work on one store, and replaced where they die."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from metaft.errors import RunFailedError, StoreError
from metaft.traces.claims import Claims, new_owner
from metaft.traces.engine import Pool

SECONDS_BETWEEN_LOOKS = 0.5
"""Between two looks at a store that is looked at quickly."""

_IDLE_DEATHS = 3  # of each worker in a row, before anything is claimed: then it is no accident
_Said = TypeVar("_Said")


class Crew(Generic[_Said]):
    """Keeps workers at work, and frees at once what one of them held that died.

    Args:
        pool: Where they live.
        claims: Of the store that they work on.
        work: What each of them does until nothing is left to do; called in the worker, with the
            arguments and the name under which it claims runs. What it returns is what it says.
        arguments: The same for all.

    Attributes:
        owners: Names under which its workers have claimed runs.
    """

    def __init__(
        self, pool: Pool, claims: Claims, work: Callable[..., _Said], *arguments: Any
    ) -> None:
        self.owners: set[str] = set()
        self._pool = pool
        self._claims = claims
        self._work = work
        self._arguments = arguments
        self._in_flight: dict[Future[_Said], str] = {}
        self._said: list[_Said] = []
        self._idle_deaths = 0

    def work(self, workers: int, look: Callable[[], float | None]) -> list[_Said]:
        """Wait until all is done or the workers have ended; leave no claim behind.

        Args:
            workers: How many begin.
            look: Called every now and then, and at the end: looks at what has ended, and returns
                the seconds to the next look, None where all is done.

        Returns:
            What the workers said that have ended by themselves.

        Raises:
            RunFailedError: If worker after worker dies before it has any run.
        """
        seconds: float | None = SECONDS_BETWEEN_LOOKS
        try:
            for _ in range(workers):
                self._engage()
            while self._in_flight and seconds is not None:
                self._await_end(seconds)
                seconds = look()
        finally:
            self._pool.stop()
            with contextlib.suppress(StoreError):  # Then claims expire by themselves.
                self._claims.give_back_all(self.owners)
                look()
        return self._said

    def _engage(self) -> None:
        owner = new_owner()
        self.owners.add(owner)
        self._in_flight[self._pool.submit(self._work, *self._arguments, owner)] = owner

    def _await_end(self, seconds: float) -> None:
        """Wait a little; take note of the workers that have ended, and replace the dead."""
        ended, _ = concurrent.futures.wait(
            self._in_flight, seconds, concurrent.futures.FIRST_COMPLETED
        )
        for future in ended:
            owner = self._in_flight.pop(future)
            try:
                self._said.append(future.result())
            except Exception as error:
                if not self._pool.is_death(error):
                    raise
                self._replace(owner)

    def _replace(self, owner: str) -> None:
        """Free what a dead worker held; its run counts one attempt more."""
        self._idle_deaths = 0 if self._claims.expire(owner) else self._idle_deaths + 1
        if self._idle_deaths > _IDLE_DEATHS * self._pool.workers:
            raise RunFailedError(
                f"{self._idle_deaths} worker processes died before they had anything to do, often "
                "for want of memory; try fewer workers"
            )
        self._engage()
