"""What the benchmarks share: taking turns, the spread, the machine, and figures with goals.

Neighbours on a machine come and go, so what is compared takes turns (A B A B ...), and a ratio
is formed within each round; its median and range over the rounds are reported. Processor
seconds stand beside wall seconds: work of others lengthens the wall clock most.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Clock = Literal["wall", "cpu"]
CLOCKS: tuple[Clock, ...] = ("wall", "cpu")
_BF16_FLAGS = ("avx512_bf16", "amx_bf16")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one turn took, of the wall clock and of this process on all its threads."""

    wall_seconds: float
    cpu_seconds: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall_seconds + other.wall_seconds, self.cpu_seconds + other.cpu_seconds)

    def times(self, factor: float) -> Cost:
        """Return the cost of `factor` such turns."""
        return Cost(self.wall_seconds * factor, self.cpu_seconds * factor)


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and range over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of at least one value."""
        kept = list(values)
        return cls(statistics.median(kept), min(kept), max(kept))

    def __str__(self) -> str:
        digits = ".2f" if abs(self.median) < 100 else ",.0f"
        return f"{self.median:{digits}} ({self.low:{digits}} to {self.high:{digits}})"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, by both clocks.

    Attributes:
        what: In words.
        wall, cpu: By the wall clock and in processor seconds.
        goal: At least so much is wanted; None where nothing is.
    """

    what: str
    wall: Spread
    cpu: Spread
    goal: float | None = None

    def verdict(self, clock: Clock) -> str:
        """Say whether the median by a clock reaches the goal."""
        if self.goal is None:
            return ""
        return "pass" if getattr(self, clock).median >= self.goal else "miss"


def cost_of(action: Callable[[], object]) -> Cost:
    """Do something once and say what it took, work left on a GPU included."""
    _wait_for_gpu()
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    _wait_for_gpu()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def take_turns(
    actions: Mapping[str, Callable[[], object]],
    rounds: int,
    on_turn: Callable[[int, str, Cost], None] | None = None,
) -> dict[str, list[Cost]]:
    """Do each of some actions in turn, round after round.

    Args:
        actions: Name -> what to do.
        rounds: How often, >= 1.
        on_turn: Called after each turn with the round (from 1), the name and the cost.

    Returns:
        Name -> one cost per round.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in actions}
    for number in range(1, rounds + 1):
        for name, action in actions.items():
            costs[name].append(cost_of(action))
            if on_turn:
                on_turn(number, name, costs[name][-1])
    return costs


def times_faster(
    what: str, slow: Sequence[Cost], fast: Sequence[Cost], goal: float | None = None
) -> Figure:
    """Return how many times cheaper `fast` was than `slow`, round by round."""
    pairs = list(zip(slow, fast, strict=True))
    return Figure(
        what,
        wall=Spread.of(a.wall_seconds / b.wall_seconds for a, b in pairs),
        cpu=Spread.of(a.cpu_seconds / b.cpu_seconds for a, b in pairs),
        goal=goal,
    )


def say(text: str) -> None:
    """Write a line of progress to stderr."""
    print(text, file=sys.stderr, flush=True)


def say_turn(number: int, name: str, cost: Cost) -> None:
    """Report a turn of `take_turns` on stderr."""
    say(f"round {number}: {name}: {cost.wall_seconds:.1f} s, {cost.cpu_seconds:.1f} s of CPU")


def describe_machine(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Say where figures were measured: hardware, threads, versions, and who else was at work.

    Args:
        packages: Distributions to name beside those that every trace names.
    """
    from metaft.traces.environment import describe_environment

    versions = {f"{name}_version": importlib.metadata.version(name) for name in packages}
    return {
        **dataclasses.asdict(describe_environment()),
        **versions,
        "bf16_flags": " ".join(flag for flag in _BF16_FLAGS if flag in _cpu_flags()) or "none",
        "load_average": round(os.getloadavg()[0], 2),
    }


def table_of(figures: Iterable[Figure], clock: Clock) -> list[dict[str, Any]]:
    """Lay figures out as rows for print_answer; the verdict is by one clock."""
    return [
        {**dataclasses.asdict(figure), "clock": clock, "verdict": figure.verdict(clock)}
        for figure in figures
    ]


def print_figures(
    figures: Iterable[Figure],
    output_format: str,
    *,
    packages: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Print figures that CPU seconds decide, and where they were measured.

    Args:
        figures: What was measured.
        output_format: `table`, `json` or `yaml`.
        packages: Distributions to name beside those that every trace names.
        notes: Sentences below the table.
    """
    from metaft.cli.output import print_answer

    answer = {
        "machine": describe_machine(packages),
        "figures": table_of(figures, "cpu"),
        "notes": list(notes),
    }
    print_answer(answer, output_format, render)


def render(answer: Mapping[str, Any]) -> Any:
    """Turn `{"machine": {...}, "figures": table_of(...), "notes": [...]}` into a rich table."""
    from rich.console import Group
    from rich.table import Table

    table = Table("figure", "wall clock", "CPU seconds", "goal", "")
    for row in answer["figures"]:
        goal = "" if row["goal"] is None else f">= {row['goal']:g}"
        spreads = [str(Spread(**row[clock])) for clock in CLOCKS]
        table.add_row(row["what"], *spreads, goal, row["verdict"])
    machine = ", ".join(f"{name} {value}" for name, value in answer["machine"].items() if value)
    return Group(machine, table, *answer.get("notes", ()))


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _wait_for_gpu() -> None:
    """Wait for a GPU that this process uses; without torch there is none."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
