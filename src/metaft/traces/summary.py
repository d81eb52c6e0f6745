"""Summary: how many traces there are of what, and where the time went."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from metaft.traces.trace import Trace


@dataclass(frozen=True, slots=True)
class Shares:
    """Where the time of some traces went.

    Attributes:
        seconds_per_trace: Mean wall time of a run, of its part in what a group of runs shares,
            and of what recording added; NaN for none.
        training_share: Share of that time spent on epochs of training, in [0, 1].
        evaluation_share: Share of it spent on scoring validation and test rows, in [0, 1].
        prefix_share: Share of it spent on encoding rows and on the frozen blocks' one forward
            pass, where it was measured apart, in [0, 1].
        setup_share: Share of it spent on the rest of a run, in [0, 1]: its copy of the model,
            its first head, going back to the best epoch.
        overhead_share: Share of it that recording added, in [0, 1].
    """

    seconds_per_trace: float
    training_share: float
    evaluation_share: float
    prefix_share: float
    setup_share: float
    overhead_share: float


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """The traces of one backbone, kind of task and size.

    Attributes:
        backbone, kind, train_rows: What they have in common.
        tasks: Different tasks among them.
        traces: How many there are.
        statuses: Status -> traces.
        shares: Where their time went.
    """

    backbone: str
    kind: str
    train_rows: int
    tasks: int
    traces: int
    statuses: Mapping[str, int]
    shares: Shares


def summarise(traces: Iterable[Trace]) -> tuple[list[SummaryRow], Shares]:
    """Count traces by backbone, kind and size.

    Args:
        traces: Read once.

    Returns:
        One row per backbone, kind and size, sorted; and the shares over all traces.
    """
    tallies: dict[tuple[str, str, int], _Tally] = defaultdict(_Tally)
    total = _Tally()
    for trace in traces:
        tallies[trace.backbone, trace.kind, trace.train_rows].add(trace)
        total.add(trace)
    rows = [tally.row(*facts) for facts, tally in sorted(tallies.items())]
    return rows, total.shares()


@dataclass(eq=False)
class _Tally:
    """Sums over traces."""

    tasks: set[str] = field(default_factory=set)
    statuses: Counter[str] = field(default_factory=Counter)
    wall_seconds: float = 0.0
    overhead_seconds: float = 0.0
    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    prefixes: dict[tuple[str, str, int, int], float] = field(default_factory=dict)

    def add(self, trace: Trace) -> None:
        self.tasks.add(trace.task)
        self.statuses[trace.status] += 1
        # NaN where a worker died of the run, or somebody else made it.
        self.wall_seconds += _known_sum([trace.costs.wall_seconds])
        self.overhead_seconds += trace.overhead_seconds
        self.training_seconds += _known_sum(record.train_seconds for record in trace.curve)
        self.evaluation_seconds += _known_sum(record.evaluation_seconds for record in trace.curve)
        self._add_prefix(trace)

    def _add_prefix(self, trace: Trace) -> None:
        """Count what a group of runs spent once and every trace of it names: the deepest pass."""
        group = (trace.task, trace.backbone, trace.train_rows, trace.seed)
        self.prefixes[group] = max(self.prefixes.get(group, 0.0), trace.prefix_seconds or 0.0)

    def row(self, backbone: str, kind: str, train_rows: int) -> SummaryRow:
        return SummaryRow(
            backbone=backbone,
            kind=kind,
            train_rows=train_rows,
            tasks=len(self.tasks),
            traces=self.statuses.total(),
            statuses=dict(self.statuses),
            shares=self.shares(),
        )

    def shares(self) -> Shares:
        prefix, count = sum(self.prefixes.values()), self.statuses.total()
        whole = self.wall_seconds + prefix + self.overhead_seconds
        setup = self.wall_seconds - self.training_seconds - self.evaluation_seconds
        parts = (self.training_seconds, self.evaluation_seconds, prefix, setup)
        shares = (part / whole if whole else 0.0 for part in (*parts, self.overhead_seconds))
        return Shares(whole / count if count else math.nan, *shares)


def _known_sum(seconds: Iterable[float]) -> float:
    return sum(value for value in seconds if math.isfinite(value))
