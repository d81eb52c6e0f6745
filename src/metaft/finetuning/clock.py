"""Clock: what a run costs."""

from __future__ import annotations

import time

import torch

from metaft.finetuning.memory import peak_memory_mib
from metaft.finetuning.outcome import Costs


class Clock:
    """Wall, CPU and GPU seconds since it was made."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        self.gpu = self._mark()

    def _mark(self) -> torch.cuda.Event | None:
        if self.device != "cuda":
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def stop(self) -> Costs:
        """Return the costs up to now."""
        end, gpu_seconds = self._mark(), None
        if self.gpu is not None and end is not None:
            torch.cuda.synchronize()
            gpu_seconds = self.gpu.elapsed_time(end) / 1000
        return Costs(
            wall_seconds=time.perf_counter() - self.wall,
            cpu_seconds=time.process_time() - self.cpu,
            gpu_seconds=gpu_seconds,
            peak_memory_mib=peak_memory_mib(self.device),
        )
