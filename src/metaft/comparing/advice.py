"""Advice: what a prior says, as choices of methods."""

from __future__ import annotations

import numpy as np

from metaft.comparing.choice import Choice
from metaft.errors import TaskError
from metaft.prior.ask import suggest_for
from metaft.prior.choice import Goal
from metaft.prior.described import Described
from metaft.prior.prior import Prior, newest_prior
from metaft.prior.suggestion import Suggestion
from metaft.recipes import Recipe
from metaft.tasks.task import Kind, Task
from metaft.traces.trace import VALIDATION_ROWS


class Adviser:
    """Asks one prior per modality, backbone and kind.

    Args:
        name: A shipped prior's name, or a folder; None takes the newest shipped one that
            fits.
        offline: Never ask the hub.

    Raises:
        PriorError: If the named prior cannot be used. Every method raises it where none fits.
    """

    def __init__(self, name: str | None, *, offline: bool) -> None:
        self._named = None if name is None else Prior.load(name)
        self._offline = offline
        self._found: dict[tuple[str, str, Kind], Prior] = {}

    def suggest(
        self,
        goal: Goal,
        task: Task,
        backbone: str,
        train_rows: int,
        *,
        probe: bool = False,
        racers: int = 0,
    ) -> Choice:
        """Choose what the prior suggests for a goal, after trial steps where it shall be probed.

        Args:
            goal: What is sought.
            task: As it was loaded.
            backbone: Identity.
            train_rows: Of the run.
            probe: Take trial steps first.
            racers: How many of the best suggestions race for an epoch; 0 for no race.

        Raises:
            TaskError: If the prior knows the other modality only.
            PriorError: If it knows nothing of trial steps, and they are to be taken.
        """
        prior = self._prior_for(task, backbone)
        suggestion = suggest_for(
            task.name,
            backbone=backbone,
            prior=str(prior.folder),
            rows=train_rows,
            goal=goal,
            offline=self._offline,
            task=task,
            probe=probe,
            top=max(1, racers),
            validation_rows=min(len(task.validation), VALIDATION_ROWS),
        )
        racing, not_racing = _racers_of(suggestion) if racers else ((), "")
        return Choice(
            recipe=suggestion.recipe,
            predicted=suggestion.predicted,
            is_seen=_has_seen(prior, task),
            note="; ".join(filter(None, [suggestion.fallback, not_racing])),
            prior=_label_of(prior),
            racers=racing,
            seconds_before=suggestion.probe_seconds or 0.0,
        )

    def best_on_average(self, task: Task, backbone: str, train_rows: int) -> Choice:
        """Choose what did best on average where the prior learned, backbone and size alike.

        Raises:
            TaskError: If the prior knows the other modality only.
        """
        prior = self._prior_for(task, backbone)
        # The average goes by backbone and size alone, so no feature is given.
        asked = Described(
            task.name, task.fingerprint, task.kind, task.metric, backbone, train_rows, values={}
        )
        scores = prior.fitted.models.scores
        usual = scores.averages.usual_at(asked.block)
        means = scores.average(asked)
        best = int(np.where(usual, means, -np.inf).argmax() if usual.any() else means.argmax())
        return Choice(
            recipe=scores.space.cells[best],
            is_seen=_has_seen(prior, task),
            prior=_label_of(prior),
        )

    def _prior_for(self, task: Task, backbone: str) -> Prior:
        key = (task.modality, backbone, task.kind)
        if key not in self._found:
            self._found[key] = self._named or newest_prior(*key)
        prior = self._found[key]
        if prior.manifest["modality"] != task.modality:
            raise TaskError(
                f"it is a task of {task.modality}s, and the prior {prior.name!r} learned from "
                f"{prior.manifest['modality']}s",
                "Name another --prior, or other --tasks",
            )
        return prior


def _racers_of(suggestion: Suggestion) -> tuple[tuple[Recipe, ...], str]:
    """Return the recipes that race, the suggested one first, and which ones do not, and why.

    A recorded run of one epoch is the first epoch of a longer one only where the schedule does
    not depend on the budget.
    """
    best, *others = suggestion.recipes
    if best.depends_on_budget:
        return (), f"no race: the schedule of the suggested recipe is {best.schedule}"
    racing = tuple(recipe for recipe in others if not recipe.depends_on_budget)
    left_out = len(others) - len(racing)
    said = f"{left_out} of {len(others)} rivals do not race: their schedules depend on the budget"
    return (best, *racing) if racing else (), said if left_out else ""


def _has_seen(prior: Prior, task: Task) -> bool:
    """Say whether the prior learned from this task or from a relative."""
    known = {trained["name"] for trained in prior.manifest["tasks"]}
    return prior.manifest.has_seen(task.name, task.fingerprint) or bool(known & task.relatives)


def _label_of(prior: Prior) -> str:
    return f"{prior.name} {prior.manifest['version']}"
