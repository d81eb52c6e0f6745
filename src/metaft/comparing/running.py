"""Running a comparison: races first, then what won and everything else.

All runs go through the recorder into a trace store: a comparison that was stopped goes on where
it was, and a run that any earlier recording made is not made again.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Sequence

from metaft.comparing.protocol import ComparisonPlan
from metaft.comparing.races import race_keys, races_of, settle_races
from metaft.traces.recorder import OnPlanned, OnTrace, OnWait, RecordingSummary, record
from metaft.traces.store import TraceStore
from metaft.traces.trace import PlannedRun, Trace


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
) -> tuple[ComparisonPlan, RecordingSummary]:
    """Record the runs of a plan that are not stored yet; see `metaft.traces.recorder.record`.

    Returns:
        The plan with its races settled as far as they are over, and what was recorded.
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
    races = races_of(plan)
    if not races:
        return plan, record_runs(plan.runs)
    raced = record_runs(races)
    settled = settle_races(plan, _stored(race_keys(plan), store))
    return settled, _together(raced, record_runs(settled.runs))


def traces_of(plan: ComparisonPlan, store: TraceStore) -> dict[str, Trace]:
    """Return key -> trace of every run of a plan that is stored, lost races included."""
    keys = [key for task in plan.tasks for key in task.trace_ids.values()]
    lost = [key for task in plan.tasks for given_up in task.given_up.values() for key in given_up]
    return _stored([*keys, *lost], store)


def _record(
    runs: Sequence[PlannedRun], *, store: TraceStore, ends_at: float | None, **settings: object
) -> RecordingSummary:
    """Record within what is left of the time."""
    left = None if ends_at is None else max(0.0, ends_at - time.monotonic())
    return record(runs, store, time_limit_seconds=left, **settings)  # type: ignore[arg-type]


def _stored(keys: Sequence[str], store: TraceStore) -> dict[str, Trace]:
    return {trace.trace_id: trace for trace in store.traces(set(keys))}


def _together(raced: RecordingSummary, ran: RecordingSummary) -> RecordingSummary:
    """Add what both recordings did; races that are not over leave their winners' runs unnamed."""
    recorded = raced.recorded + ran.recorded
    seconds = [(s.seconds_per_trace, s.recorded) for s in (raced, ran) if s.recorded]
    return RecordingSummary(
        recorded=recorded,
        skipped=raced.skipped + ran.skipped,
        left=raced.left + ran.left,
        statuses=Counter(raced.statuses) + Counter(ran.statuses),
        problems={**raced.problems, **ran.problems},
        wall_seconds=raced.wall_seconds + ran.wall_seconds,
        seconds_per_trace=sum(each * count for each, count in seconds) / max(1, recorded),
    )
