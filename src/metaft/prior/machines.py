"""Machine: what the seconds of traces belong to; prices are those of the commonest one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from metaft.traces.trace import Trace


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides how long a step takes, as far as a trace tells.

    Attributes:
        cpu_model: As the operating system names it; empty where that is not known.
        gpu_name: Empty without a GPU.
        threads: Threads that torch computed with.
        precision: The arithmetic, never `auto`: the same processor's name may stand for some
            that are fast at bf16 and some that are not.
    """

    cpu_model: str
    gpu_name: str
    threads: int
    precision: str

    @classmethod
    def of(cls, trace: Trace) -> Machine:
        """Return the machine that a run was made on."""
        where = trace.environment
        return cls(where.cpu_model, where.gpu_name, where.threads, trace.precision)

    @classmethod
    def commonest(cls, traces: Sequence[Trace]) -> Machine:
        """Return the machine that most of at least one run were made on, the first of equals."""
        ((machine, _),) = Counter(map(cls.of, traces)).most_common(1)
        return machine
