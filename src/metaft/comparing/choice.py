"""Choice: the recipe that a method takes for a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from metaft.prior.suggestion import Prediction
from metaft.recipes import Recipe
from metaft.searching.proposals import SearchWay
from metaft.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Choice:
    """What a method chose for one task.

    Attributes:
        recipe: Its seed does not matter; every seed of the comparison is run.
        predicted: What the method expects of it; None where it expects nothing.
        is_seen: Whether the method had learned from this task or a relative of it.
        note: What the method could not use; empty where nothing.
        prior: Name and version of the prior that was asked; empty where none was.
        racers: Recipes that train for one epoch each before one of them goes on, the chosen
            one first; empty where there is no race.
        seconds_before: Wall time of the trial steps that it was chosen by, 0 where there were
            none or they were known already; each seed's run is charged for it.
        search: How a recipe is searched for on each seed; the recipe above then holds the fields
            that are not varied. None where nothing is searched.
    """

    recipe: Recipe
    predicted: Prediction | None = None
    is_seen: bool = False
    note: str = ""
    prior: str = ""
    racers: tuple[Recipe, ...] = ()
    seconds_before: float = 0.0
    search: SearchWay | None = None

    @property
    def is_open(self) -> bool:
        """Whether only runs tell what it comes down to, on each seed anew."""
        return bool(self.racers) or self.search is not None


Choose = Callable[[Task, str, int], Choice]
"""(task as loaded, backbone's identity, training rows) -> choice."""
