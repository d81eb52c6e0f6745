"""Bench: makes runs that share rows, a backbone and a cache, and turns each into a Trace.

Knows neither the store nor where tasks come from, so runs can be made where neither is.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from metaft.backbones.backbone import Backbone
from metaft.finetuning.device import resolve_compute
from metaft.finetuning.loop import fine_tune
from metaft.finetuning.outcome import Costs, Outcome, Status
from metaft.finetuning.prefix_cache import PrefixCache, SplitName
from metaft.recipes import Recipe
from metaft.tasks.task import Task
from metaft.traces.environment import describe_environment
from metaft.traces.trace import PlannedRun, Trace, trace_of

_LOGGER = logging.getLogger(__name__)
_SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


class Bench:
    """Makes the runs of one group, one after the other.

    Args:
        rows: The task, sub-sampled to the rows that the runs use.
        task_fingerprint: Of the whole task as loaded.
        backbone: Pretrained; runs train copies of it.
    """

    def __init__(self, rows: Task, task_fingerprint: str, backbone: Backbone) -> None:
        self._rows = rows
        self._task_fingerprint = task_fingerprint
        self._backbone = backbone
        self._cache = PrefixCache(rows, backbone)
        self._environment = describe_environment()
        self._seconds_of: dict[tuple[Any, ...], float] = {}

    def record(self, run: PlannedRun, began: float) -> Trace:
        """Make one run; whatever goes wrong in it is its outcome.

        Args:
            run: Of this bench's task, backbone and rows.
            began: When the work on the run began (`time.perf_counter`): what lies between
                that and this call is overhead.
        """
        overhead_seconds = time.perf_counter() - began
        wall, cpu = time.perf_counter(), time.process_time()
        prefix_seconds = None
        try:
            prefix_seconds = self._prepare(run.recipe)
            outcome = self._fine_tune(run.recipe)
        except Exception as error:
            _LOGGER.info("a run on %s failed", run.task, exc_info=True)
            status: Status = "out_of_memory" if isinstance(error, MemoryError) else "failed"
            costs = _costs(time.perf_counter() - wall, time.process_time() - cpu)
            outcome = _ended_early(status, f"{type(error).__name__}: {error}", costs)
        return self._trace_of(run, outcome, overhead_seconds, prefix_seconds)

    def set_aside(self, run: PlannedRun, reason: str) -> Trace:
        """Return the Trace of a run that cannot be made, as failed for a given reason."""
        outcome = _ended_early("failed", reason, _costs(math.nan, math.nan))
        return self._trace_of(run, outcome, 0.0, None)

    def _fine_tune(self, recipe: Recipe) -> Outcome:
        tuned = fine_tune(
            self._rows, self._backbone, recipe, test_every_epoch=True, cache=self._cache
        )
        return tuned.outcome

    def _prepare(self, recipe: Recipe) -> float:
        """Fill the cache with what a recipe reads from it; return what that took.

        What an earlier run has filled in counts with the time that it took then.
        """
        cache, compute = self._cache, resolve_compute("auto", recipe.precision)
        depth = self._backbone.frozen_blocks(recipe.frozen_fraction)
        shape = (recipe.max_length, recipe.image_size)
        seconds = 0.0
        for split in _SPLITS:
            seconds += self._timed(("rows", split, *shape), cache.examples, split, recipe)
            is_probed = recipe.head_init == "linear_probe" and split == "train"
            if is_probed or depth == self._backbone.depth:
                key: tuple[Any, ...] = ("features", split, compute, *shape)
                seconds += self._timed(key, cache.features, split, recipe, compute)
            if 0 < depth < self._backbone.depth:
                key = ("states", depth, split, compute, *shape)
                seconds += self._timed(key, cache.states, split, recipe, depth, compute)
        return seconds

    def _timed(self, key: tuple[Any, ...], fill: Callable[..., Any], *arguments: Any) -> float:
        if key not in self._seconds_of:
            began = time.perf_counter()
            fill(*arguments)
            self._seconds_of[key] = time.perf_counter() - began
        return self._seconds_of[key]

    def _trace_of(
        self,
        run: PlannedRun,
        outcome: Outcome,
        overhead_seconds: float,
        prefix_seconds: float | None,
    ) -> Trace:
        return trace_of(
            outcome,
            run=run,
            task=self._rows,
            task_fingerprint=self._task_fingerprint,
            backbone_fingerprint=self._backbone.fingerprint,
            environment=self._environment,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            overhead_seconds=overhead_seconds,
            prefix_seconds=prefix_seconds,
        )


def _costs(wall_seconds: float, cpu_seconds: float) -> Costs:
    return Costs(wall_seconds, cpu_seconds, gpu_seconds=None, peak_memory_mib=math.nan)


def _ended_early(status: Status, reason: str, costs: Costs) -> Outcome:
    """Return the outcome of a run without any scores."""
    return Outcome(
        status=status,
        reason=reason,
        curve=(),
        best_epoch=0,
        validation={},
        test={},
        costs=costs,
        epochs_to_95_percent=0,
        precision="",
        device="",
    )
