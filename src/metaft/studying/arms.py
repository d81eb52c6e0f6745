"""Arms: what is run of a method or of a combination of levels on one task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaft.backbones.backbone import Backbone
from metaft.comparing.advice import Adviser
from metaft.comparing.methods import choose_of
from metaft.errors import PriorError, RecipeError, StudyError, TaskError
from metaft.finetuning.fitness import check_fit
from metaft.recipes import Recipe
from metaft.searching.proposals import SearchWay
from metaft.searching.space import SearchSpace, usual_space
from metaft.studying.card import ASK_PRIOR, ASKED, Variant
from metaft.studying.combining import Levels
from metaft.studying.starts import Start, is_learned_from, prepare_start, pretrained
from metaft.studying.ways import search_way, start_of
from metaft.tasks.task import Modality, Task

CHOSEN_FIELDS = (
    "learning_rate",
    "frozen_fraction",
    "freezing",
    "epochs",
    "batch_size",
    "schedule",
    "warmup_fraction",
    "weight_decay",
    "label_smoothing",
    "augmentation",
    "head_init",
)
"""What a prior chooses; `base` of a card does not take it back."""


@dataclass(frozen=True, eq=False)
class Arm:
    """What is run, but for the seed.

    Attributes:
        levels: What it stands for.
        recipe: What is run; of a search what it does not vary.
        start: The backbone, with the weights that the run starts from.
        search: The search that is made; None for a single run.
        space: What it varies; None likewise.
        is_seen: Whether the method had learned from the task or a relative of it.
        note: What the method could not use; empty where nothing.
    """

    levels: Levels
    recipe: Recipe
    start: Start
    search: SearchWay | None = None
    space: SearchSpace | None = None
    is_seen: bool = False
    note: str = ""


class ArmMaker:
    """Makes the arms of a study that compares methods.

    Args:
        variant: The study.
        prior: Name or folder of the prior; None takes the newest shipped one.
        inits: Folder of initialisations.
        offline: Never ask the hub.

    Raises:
        PriorError: If the named prior cannot be used.
    """

    def __init__(
        self, variant: Variant, *, prior: str | None, inits: Path | None, offline: bool
    ) -> None:
        self._variant = variant
        self._prior = prior
        self._inits = inits
        self._adviser = Adviser(prior, offline=offline)
        self._starts: dict[tuple[str, str], Start] = {}

    def make(
        self, task: Task, sample: Task, backbone: Backbone
    ) -> tuple[dict[Levels, Arm], dict[Levels, str]]:
        """Return levels -> arm, and levels -> why there is none.

        Args:
            task: As loaded.
            sample: The rows of a run.
            backbone: Pretrained.
        """
        arms: dict[Levels, Arm] = {}
        problems: dict[Levels, str] = {}
        for method in self._variant.methods:
            try:
                arm = self._make_one(method, task, len(sample.train), backbone)
                check_fit(arm.recipe, sample, backbone)
                arms[arm.levels] = arm
            except (PriorError, RecipeError, StudyError, TaskError) as error:
                problems[(method,)] = str(error)
        return arms, problems

    def _make_one(self, method: str, task: Task, train_rows: int, backbone: Backbone) -> Arm:
        levels, here = (method,), pretrained(backbone)
        base = self._variant.base_recipe(task.modality)
        way, start = search_way(method), start_of(method)
        if way:
            return Arm(levels, base, here, way, self._space(task.modality, way))
        if start:
            moved = self._start(start, backbone)
            seen = is_learned_from(moved, task.name, task.relatives)
            return Arm(levels, base, moved, is_seen=seen)
        own = self._variant.recipes.get(method)
        if own is not None:
            return self._own_arm(method, own.of(task.modality), task, train_rows, backbone)
        if method == "plain":
            return Arm(levels, base, here)
        choice = choose_of(method, self._adviser)(task, backbone.identity, train_rows)
        settings = self._variant.base.of(task.modality) or {}
        kept = {name: value for name, value in settings.items() if name not in CHOSEN_FIELDS}
        recipe = choice.recipe.with_settings(kept)
        return Arm(levels, recipe, here, is_seen=choice.is_seen, note=choice.note)

    def _own_arm(
        self,
        method: str,
        settings: Mapping[str, Any] | None,
        task: Task,
        train_rows: int,
        backbone: Backbone,
    ) -> Arm:
        """Return the arm of a recipe of the card, its rate from the prior where it says so."""
        if settings is None:
            raise StudyError(f"the card does not set {method!r} for {task.modality}s")
        base, here = self._variant.base_recipe(task.modality), pretrained(backbone)
        if settings.get(ASKED) != ASK_PRIOR:
            return Arm((method,), base.with_settings(settings), here)
        choice = self._adviser.suggest("score", task, backbone.identity, train_rows)
        asked = {**settings, ASKED: getattr(choice.recipe, ASKED)}
        recipe = base.with_settings(asked)
        return Arm((method,), recipe, here, is_seen=choice.is_seen, note=choice.note)

    def _space(self, modality: Modality, way: SearchWay) -> SearchSpace:
        given = (self._variant.search_space or {}).get(modality)
        return given or usual_space(modality, way.sampler)

    def _start(self, start: str, backbone: Backbone) -> Start:
        key = (start, backbone.identity)
        if key not in self._starts:
            self._starts[key] = prepare_start(
                start,
                backbone,
                inits=self._inits,
                prior=self._prior,
                held_out=",".join(self._variant.tasks),
            )
        return self._starts[key]
