"""Running a comparison: races first, then what won and all single runs, then searches.

All runs go through the recorder into a trace store: a comparison that was stopped goes on where
it was, and a run that any earlier recording made is not made again.
"""

from __future__ import annotations

import functools
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence

from metaft.comparing.protocol import ComparisonPlan
from metaft.comparing.races import race_keys, races_of, settle_races
from metaft.comparing.searches import Searches, settle_searches
from metaft.searching.trials import Trial
from metaft.searching.working import deadline_of, make_trials_side_by_side
from metaft.traces.recorder import OnPlanned, OnTrace, OnWait, RecordingSummary, record
from metaft.traces.store import TraceStore
from metaft.traces.trace import PlannedRun, Trace

OnSearch = Callable[[str, int, int], None]
"""(task of a trial that has ended, trials that have ended, all of them) -> nothing."""


def run_comparison(
    plan: ComparisonPlan,
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
) -> tuple[ComparisonPlan, RecordingSummary]:
    """Record the runs of a plan that are not stored yet; see `metaft.traces.recorder.record`.

    Args:
        plan: From `plan_comparison`.
        store: Where its traces are and go.
        workers: One-thread processes. The trials of one search are made one after the other,
            those of several side by side.
        time_limit_seconds: No run starts later than this.
        cache_limit_bytes: See `PrefixCache`.
        offline: Never ask the hub.
        on_planned: See `record`.
        on_trace: Likewise.
        on_wait: Likewise.
        on_search: Called when the searches begin, with no task, and when a trial has ended.

    Returns:
        The plan with its races and searches settled as far as they are over, and what was
        recorded.
    """
    ends_at = None if time_limit_seconds is None else time.monotonic() + time_limit_seconds
    record_runs = functools.partial(
        _record,
        store=store,
        ends_at=ends_at,
        workers=workers,
        cache_limit_bytes=cache_limit_bytes,
        offline=offline,
        on_planned=on_planned,
        on_trace=on_trace,
        on_wait=on_wait,
    )
    summaries = []
    if races := races_of(plan):
        summaries.append(record_runs(races))
        plan = settle_races(plan, _stored(race_keys(plan), store))
    if runs := plan.runs:
        summaries.append(record_runs(runs))
    searches = Searches(plan, store)
    if searches.walks:
        summaries.append(
            _search(
                searches,
                store,
                workers=workers,
                time_limit_seconds=_left(ends_at),
                cache_limit_bytes=cache_limit_bytes,
                offline=offline,
                on_search=on_search or (lambda task, ended, trials: None),
            )
        )
        plan = settle_searches(plan, searches)
    return plan, functools.reduce(_together, summaries)


def _search(
    searches: Searches,
    store: TraceStore,
    *,
    workers: int,
    time_limit_seconds: float | None,
    cache_limit_bytes: int | None,
    offline: bool,
    on_search: OnSearch,
) -> RecordingSummary:
    """Make the trials that are not stored."""
    began = time.monotonic()
    skipped, trials = searches.look(), searches.trials
    made: list[Trial] = []

    def take(task: str, trial: Trial) -> None:
        made.append(trial)
        on_search(task, len(made), trials - skipped)

    searches.tell(take)
    if skipped < trials:
        on_search("", 0, trials - skipped)
    ended = make_trials_side_by_side(
        list(searches.walks.values()),
        store,
        workers=workers,
        deadline=deadline_of(store, time_limit_seconds),
        offline=offline,
        cache_limit_bytes=cache_limit_bytes,
    )
    searches.look()
    seconds = [trial.wall_seconds for trial in made if math.isfinite(trial.wall_seconds)]
    return RecordingSummary(
        recorded=len(made),
        skipped=skipped,
        left=searches.left(ended.problems),
        statuses=Counter(trial.status for trial in made),
        problems=ended.problems,
        wall_seconds=time.monotonic() - began,
        seconds_per_trace=sum(seconds) / len(made) if made else math.nan,
    )


def traces_of(plan: ComparisonPlan, store: TraceStore) -> dict[str, Trace]:
    """Return key -> trace of every run of a plan that is stored, those given up included."""
    keys = [key for task in plan.tasks for key in task.trace_ids.values()]
    lost = [key for task in plan.tasks for given_up in task.given_up.values() for key in given_up]
    return _stored([*keys, *lost], store)


def _record(
    runs: Sequence[PlannedRun], *, store: TraceStore, ends_at: float | None, **settings: object
) -> RecordingSummary:
    """Record within what is left of the time."""
    return record(runs, store, time_limit_seconds=_left(ends_at), **settings)  # type: ignore[arg-type]


def _left(ends_at: float | None) -> float | None:
    """Return the seconds that are left."""
    return None if ends_at is None else max(0.0, ends_at - time.monotonic())


def _stored(keys: Sequence[str], store: TraceStore) -> dict[str, Trace]:
    return {trace.trace_id: trace for trace in store.traces(set(keys))}


def _together(first: RecordingSummary, then: RecordingSummary) -> RecordingSummary:
    """Add what both recordings did; races that are not over leave their winners' runs unnamed."""
    recorded = first.recorded + then.recorded
    seconds = [(s.seconds_per_trace, s.recorded) for s in (first, then) if s.recorded]
    return RecordingSummary(
        recorded=recorded,
        skipped=first.skipped + then.skipped,
        left=first.left + then.left,
        statuses=Counter(first.statuses) + Counter(then.statuses),
        problems={**first.problems, **then.problems},
        wall_seconds=first.wall_seconds + then.wall_seconds,
        seconds_per_trace=sum(each * count for each, count in seconds) / max(1, recorded),
    )
