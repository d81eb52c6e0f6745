"""The race: several recipes train for an epoch, and one of them goes on."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from metaft.backbones.backbone import Backbone
from metaft.finetuning.device import Device
from metaft.finetuning.lead import LEAD_POINTS, winner_of
from metaft.finetuning.loop import FineTuned, OnEpoch, OpenRun, begin_run
from metaft.finetuning.outcome import Costs, Status
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.recipes import Recipe
from metaft.tasks.task import Metric, Task

POINTS = 100.0
"""Points per unit of a score."""


@dataclass(frozen=True, slots=True)
class Racer:
    """A recipe after its first epoch.

    Attributes:
        recipe: What was run.
        status: `ok`, or how it broke off.
        score: Primary metric on the validation rows; NaN where it broke off.
        costs: Of its first epoch, with what it takes to begin.
    """

    recipe: Recipe
    status: Status
    score: float
    costs: Costs


OnRacer = Callable[[Racer], None]


@dataclass(frozen=True, eq=False)
class Race:
    """A race that is over.

    Attributes:
        racers: In the order in which they were given.
        winner: Number of the one that goes on.
        metric: What the scores are.
    """

    racers: tuple[Racer, ...]
    winner: int
    metric: Metric
    _run: OpenRun

    @property
    def costs(self) -> Costs:
        """What the racers cost that were given up.

        What the racers share, the rows' encoding and the frozen blocks' pass, stands at the
        first that needs it.
        """
        given_up = [racer.costs for at, racer in enumerate(self.racers) if at != self.winner]
        return functools.reduce(Costs.plus, given_up)

    def go_on(self, on_epoch: OnEpoch | None = None) -> FineTuned:
        """Run the winner to its end, as if it had run alone; the costs are those of all."""
        self._run.costs = self._run.costs.plus(self.costs)
        self._run.advance(on_epoch=on_epoch)
        return self._run.finish()

    def to_mapping(self) -> dict[str, Any]:
        """Return it as plain values; the score of a racer that broke off is None."""
        return {
            "metric": self.metric,
            "lead_points": LEAD_POINTS,
            "racers": [
                {
                    "won": at == self.winner,
                    "status": racer.status,
                    "validation": racer.score if math.isfinite(racer.score) else None,
                    "wall_seconds": racer.costs.wall_seconds,
                    "recipe": racer.recipe.to_mapping(),
                }
                for at, racer in enumerate(self.racers)
            ],
            "wall_seconds": self.costs.wall_seconds,
        }


def race(
    task: Task,
    backbone: Backbone,
    recipes: Sequence[Recipe],
    *,
    device: Device = "auto",
    cache: PrefixCache | None = None,
    deterministic: bool = False,
    on_racer: OnRacer | None = None,
) -> Race:
    """Train every recipe for one epoch of its own schedule, and keep the run that goes on.

    Args:
        task: As for `fine_tune`.
        backbone: Pretrained; stays as it is.
        recipes: Two or more, the one that is expected to be best first.
        device: As for `fine_tune`.
        cache: Shared by all of them; None makes one.
        deterministic: As for `fine_tune`.
        on_racer: Called after each of them.

    Raises:
        RecipeError: If device or precision cannot be had here.
        TaskError: If the backbone's modality is not the task's.
    """
    cache = cache or PrefixCache(task, backbone, recipes=recipes)
    racers: list[Racer] = []
    held: OpenRun | None = None  # No other is needed later, so at most two are in memory.
    for recipe in recipes:
        run = begin_run(
            task, backbone, recipe, device=device, cache=cache, deterministic=deterministic
        )
        run.advance(1)
        racers.append(_racer_of(run))
        if held is None or _winner(racers) == len(racers) - 1:
            held = run
        if on_racer:
            on_racer(racers[-1])
    if held is None:
        raise ValueError("a race needs recipes")
    return Race(tuple(racers), _winner(racers), task.metric, held)


def _racer_of(run: OpenRun) -> Racer:
    is_known = run.status == "ok" and bool(run.curve)
    score = run.curve[-1].validation[run.task.metric] if is_known else math.nan
    return Racer(run.recipe, run.status, score, run.costs)


def _winner(racers: Sequence[Racer]) -> int:
    return winner_of([POINTS * racer.score for racer in racers])
