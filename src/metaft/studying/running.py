"""Running a study: single runs through the recorder, searches side by side, all into a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass

from metaft.errors import RunFailedError
from metaft.searching.search import SearchResult
from metaft.studying.plan import RunKey, StudyPlan
from metaft.studying.trials import Desk, work_on
from metaft.traces.database import absolute_url
from metaft.traces.engine import open_pool
from metaft.traces.recorder import OnPlanned, OnTrace, OnWait, RecordingSummary, record
from metaft.traces.store import TraceStore

OnSearch = Callable[[str, int, int], None]
"""(task of the search that has ended, searches that have ended, all of them) -> nothing."""

Searches = Mapping[tuple[int, RunKey], SearchResult]
"""(number of the unit, (levels, seed)) -> what a complete search found."""


@dataclass(frozen=True, slots=True)
class StudyRuns:
    """What a call of a study did.

    Attributes:
        summary: Of the recording; None where there were searches alone.
        searches: Those that are complete.
        searches_left: How many are not.
    """

    summary: RecordingSummary | None
    searches: Searches
    searches_left: int

    @property
    def left(self) -> int:
        """Return the runs and searches that were not reached within the time limit."""
        return (self.summary.left if self.summary else 0) + self.searches_left

    @property
    def problems(self) -> Mapping[str, str]:
        """Return task -> why it could not be recorded."""
        return self.summary.problems if self.summary else {}


def run_study(
    plan: StudyPlan,
    store: TraceStore,
    *,
    workers: int = 1,
    time_limit_seconds: float | None = None,
    cache_limit_bytes: int | None = None,
    offline: bool = False,
    on_planned: OnPlanned | None = None,
    on_trace: OnTrace | None = None,
    on_wait: OnWait | None = None,
    on_search: OnSearch | None = None,
) -> StudyRuns:
    """Make the runs of a plan that are not stored yet; see `metaft.traces.recorder.record`.

    Args:
        plan: From `plan_study`.
        store: Where its traces are and go.
        workers: One-thread processes.
        time_limit_seconds: No run starts later than this.
        cache_limit_bytes: See `PrefixCache`.
        offline: Never ask the hub.
        on_planned: See `record`.
        on_trace: Likewise.
        on_wait: Likewise.
        on_search: Called when the searches begin, with no task, and when one has ended.
    """
    ends_at = None if time_limit_seconds is None else time.time() + time_limit_seconds
    runs = plan.runs
    summary = None
    if runs:
        summary = record(
            runs,
            store,
            workers=workers,
            time_limit_seconds=time_limit_seconds,
            cache_limit_bytes=cache_limit_bytes,
            offline=offline,
            on_planned=on_planned,
            on_trace=on_trace,
            on_wait=on_wait,
        )
    desk = Desk(absolute_url(store.url), plan.variant.rows, offline, ends_at, cache_limit_bytes)
    searches = _search_all(plan, desk, workers, on_search)
    return StudyRuns(summary, searches, len(list(plan.searches)) - len(searches))


def _search_all(
    plan: StudyPlan, desk: Desk, workers: int, on_search: OnSearch | None
) -> dict[tuple[int, RunKey], SearchResult]:
    """Make the searches that are not complete; return all that are.

    Raises:
        RunFailedError: If a worker process dies.
    """
    number = {id(unit): at for at, unit in enumerate(plan.units)}
    done: dict[tuple[int, RunKey], SearchResult] = {}
    open_ones = []
    for unit, arm, seed in plan.searches:
        found, at = unit.found[arm.levels, seed], (number[id(unit)], (arm.levels, seed))
        if found and found.is_complete:
            done[at] = found
        else:
            open_ones.append((at, unit.task, arm, seed))
    if not open_ones:
        return done
    say = on_search or (lambda task, ended, searches: None)
    say("", 0, len(open_ones))
    with open_pool("local", workers) as pool:
        futures = {
            pool.submit(work_on, task, arm, seed, desk): (at, task)
            for at, task, arm, seed in open_ones
        }
        for ended, future in enumerate(as_completed(futures), 1):
            at, task = futures[future]
            try:
                result = future.result()
            except Exception as error:
                if not pool.is_death(error):
                    raise
                raise RunFailedError(
                    f"a worker process died while it searched on {task!r}, often for want of "
                    "memory; try fewer workers. The same command goes on"
                ) from error
            if result and result.is_complete:
                done[at] = result
            say(task, ended, len(open_ones))
    return done
