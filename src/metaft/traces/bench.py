"""Bench: makes runs that share rows, a backbone and a cache, and turns each into a Trace.

Knows neither the store nor where tasks come from, so runs can be made where neither is.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from metaft.backbones.backbone import Backbone
from metaft.errors import UserError
from metaft.finetuning.device import Device, resolve_compute
from metaft.finetuning.loop import begin_run
from metaft.finetuning.memory import is_out_of_memory, release_memory
from metaft.finetuning.outcome import Costs, EpochRecord, Outcome, Status
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.recipes import Recipe
from metaft.tasks.task import Task
from metaft.traces.environment import describe_environment
from metaft.traces.trace import PlannedRun, Supervised, Trace, trace_of

_LOGGER = logging.getLogger(__name__)


GoesOn = Callable[[EpochRecord], bool]


class Bench:
    """Makes the runs of one group, one after the other.

    Args:
        rows: The task, sub-sampled to the rows that the runs use.
        task_fingerprint: Of the whole task as loaded.
        backbone: Pretrained; runs train copies of it.
        recipes: Of the runs that will be made: they share one forward pass.
        cache_limit_bytes: See `PrefixCache`.
        device: `auto` takes a GPU where there is one.
    """

    def __init__(
        self,
        rows: Task,
        task_fingerprint: str,
        backbone: Backbone,
        recipes: Sequence[Recipe] = (),
        cache_limit_bytes: int | None = None,
        *,
        device: Device = "auto",
    ) -> None:
        self._device: Device = device
        self._rows = rows
        self._task_fingerprint = task_fingerprint
        self._backbone = backbone
        self._cache = PrefixCache(rows, backbone, cache_limit_bytes, recipes)
        self._environment = describe_environment()

    def record(self, run: PlannedRun, began: float, goes_on: GoesOn | None = None) -> Trace:
        """Make one run; whatever goes wrong in it is its outcome, but for what the user can cure.

        Args:
            run: Of this bench's task, backbone and rows.
            began: When the work on the run began (`time.perf_counter`): what lies between
                that and this call is overhead.
            goes_on: Asked after every epoch but the last; a run that does not go on becomes
                the run of the shorter recipe, so its rate must not depend on the budget.

        Raises:
            UserError: If the recipe fits neither task nor backbone, or needs what is not here: a
                trace of that would say for ever that the run fails.
        """
        overhead_seconds = time.perf_counter() - began
        wall, cpu = time.perf_counter(), time.process_time()
        prefix_seconds = None
        try:
            compute = resolve_compute(self._device, run.recipe.precision)
            prefix_seconds = self._cache.prepare(run.recipe, compute)
            release_memory()
            outcome = self._fine_tune(run.recipe, goes_on)
            run = _as_long_as(outcome, run)
        except UserError:
            raise
        except Exception as error:
            _LOGGER.info("a run on %s failed", run.task, exc_info=True)
            status: Status = "out_of_memory" if is_out_of_memory(error) else "failed"
            costs = _costs(time.perf_counter() - wall, time.process_time() - cpu)
            outcome = _ended_early(status, f"{type(error).__name__}: {error}", costs)
        return self._trace_of(run, outcome, overhead_seconds, prefix_seconds)

    def set_aside(self, run: PlannedRun, reason: str) -> Trace:
        """Return the Trace of a run that cannot be made, as failed for a given reason."""
        fingerprints = self._task_fingerprint, self._backbone.fingerprint
        return set_aside(run, self._rows, fingerprints, reason)

    def _fine_tune(self, recipe: Recipe, goes_on: GoesOn | None) -> Outcome:
        run = begin_run(
            self._rows,
            self._backbone,
            recipe,
            device=self._device,
            test_every_epoch=True,
            cache=self._cache,
        )
        if goes_on is None:
            run.advance()
        while goes_on and run.advance(len(run.curve) + 1) and goes_on(run.curve[-1]):
            pass
        return run.finish().outcome

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
            created_at=_now(),
            overhead_seconds=overhead_seconds,
            prefix_seconds=prefix_seconds,
        )


def _as_long_as(outcome: Outcome, run: PlannedRun) -> PlannedRun:
    """Return the run as it is keyed by the epochs that it was let make."""
    epochs, recipe = len(outcome.curve), run.recipe
    was_cut = outcome.status == "ok" and epochs < recipe.epochs
    if not was_cut or recipe.early_stopping_patience is not None:
        return run
    return dataclasses.replace(run, recipe=recipe.truncated(epochs))


def set_aside(
    run: PlannedRun, task: Supervised, fingerprints: tuple[str, str], reason: str
) -> Trace:
    """Return the Trace of a run that cannot be made, as failed for a given reason.

    Args:
        run: What was to be run.
        task: What is predicted, and by what it is judged.
        fingerprints: Of the whole task and of the backbone; neither needs to be loaded, since
            that may be what cannot be done.
        reason: Why it failed.
    """
    return trace_of(
        _ended_early("failed", reason, _costs(math.nan, math.nan)),
        run=run,
        task=task,
        task_fingerprint=fingerprints[0],
        backbone_fingerprint=fingerprints[1],
        environment=describe_environment(),
        created_at=_now(),
        overhead_seconds=0.0,
        prefix_seconds=None,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


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
