"""Making the runs of a pack, on a machine that needs nothing else."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metaft.traces.lines import TraceLines
from metaft.traces.pack.archive import Pack
from metaft.traces.pack.crew import Crew, Orders
from metaft.traces.trace import Trace

if TYPE_CHECKING:
    from metaft.finetuning.device import Device


@dataclass(frozen=True, slots=True)
class PackProgress:
    """How far the runs of a pack are.

    Attributes:
        done: Runs that have ended in this call.
        left: Runs that have not.
        skipped: Runs that the file of traces held before.
        statuses: Status -> runs, of those done.
        wall_seconds: Since the call.
    """

    done: int
    left: int
    skipped: int
    statuses: Mapping[str, int]
    wall_seconds: float

    @property
    def seconds_left(self) -> float:
        """Estimate from the seconds per run so far; NaN before the first."""
        return self.wall_seconds / self.done * self.left if self.done else math.nan


OnTrace = Callable[[Trace | None, PackProgress], None]


def run_pack(
    path: Path,
    out: Path,
    *,
    workers: int = 1,
    device: Device = "auto",
    time_limit_seconds: float | None = None,
    on_trace: OnTrace | None = None,
) -> PackProgress:
    """Make the runs of a pack that a file of traces does not hold yet.

    Every trace is a line of the file, and on the disk, as soon as its run has ended; the same
    call goes on after whatever ended it.

    Args:
        path: The pack.
        out: File of JSON lines, created where it is missing.
        workers: One-thread processes, >= 1; on a GPU they share the card.
        device: `auto` takes a GPU where there is one.
        time_limit_seconds: No run starts later than this, counted from the call.
        on_trace: Called with None when it is known what there is to do, then with each trace.

    Raises:
        PackError: If the pack is damaged, or something that it needs is missing here.
        StoreError: If the file of traces cannot be written, or holds something else.
        RunFailedError: If a worker dies before it has begun.
    """
    began, deadline = time.monotonic(), math.inf
    if time_limit_seconds is not None:
        deadline = time.time() + time_limit_seconds
    pack = Pack(path)
    pack.check()
    lines = TraceLines(out)
    stored = {trace.trace_id for trace in lines.traces}
    pending = {key: run for key, run in pack.manifest.runs.items() if key not in stored}
    skipped, statuses = len(pack.manifest.runs) - len(pending), Counter[str]()

    def progress() -> PackProgress:
        done, seconds = statuses.total(), time.monotonic() - began
        return PackProgress(done, len(pending) - done, skipped, dict(statuses), seconds)

    def keep(trace: Trace, line: str) -> None:
        lines.append(line)
        statuses[trace.status] += 1
        if on_trace:
            on_trace(trace, progress())

    if on_trace:
        on_trace(None, progress())
    try:
        Crew(Orders(path, device, deadline), workers, keep).make(pending)
    finally:
        lines.close()
    return progress()
