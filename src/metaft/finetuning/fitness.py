"""Whether a recipe fits the task and the backbone: what does not, fails before any work."""

from __future__ import annotations

import logging

from metaft.backbones.backbone import Backbone
from metaft.errors import RecipeError
from metaft.finetuning.freezing import frozen_parts
from metaft.finetuning.optimizers import check_optimizer
from metaft.finetuning.schedules import total_steps_of, warmup_steps_of
from metaft.recipes import IMAGE_AUGMENTATIONS, TEXT_AUGMENTATIONS, Recipe
from metaft.tasks.task import Task

_LOGGER = logging.getLogger(__name__)
_ALIGNED_KINDS = ("ner", "qa")  # Their labels stand at places of the text.


def check_fit(recipe: Recipe, task: Task, backbone: Backbone) -> None:
    """Refuse a recipe that makes no sense for a task or a backbone.

    Raises:
        RecipeError: Naming the field, and what is allowed here.
        MissingExtraError: If the recipe's optimiser, or WordNet, is not installed.
    """
    check_optimizer(recipe)
    _check_augmentation(recipe, task)
    _check_objective(recipe, task)
    check_warmup(recipe, len(task.train))
    _check_freezing(recipe, backbone)


def _check_freezing(recipe: Recipe, backbone: Backbone) -> None:
    """Refuse a share of the blocks that is none of them, or all where some are to learn."""
    count = len(frozen_parts(recipe, backbone.depth, 1).blocks)
    most = {"alternate": backbone.depth - 1, "last": backbone.depth}.get(recipe.freezing)
    if most is not None and not 0 < count <= most:
        raise RecipeError(
            f"freezing is {recipe.freezing!r} and frozen_fraction {recipe.frozen_fraction:g}, "
            f"which freezes {count} of the {backbone.depth} blocks of {backbone.identity!r}",
            "Set freezing to first, or another frozen_fraction",
        )


def _check_objective(recipe: Recipe, task: Task) -> None:
    """Refuse ways to learn that make no sense for what is predicted."""
    has_no_classes = task.is_regression or task.kind == "qa"
    why = f"{task.name!r} is a task of kind {task.kind}"
    if has_no_classes and recipe.label_smoothing > 0:
        raise RecipeError(
            f"label_smoothing is {recipe.label_smoothing:g}, but {why}: it has no classes",
            "Set label_smoothing to 0",
        )
    if (has_no_classes or task.is_by_token) and recipe.class_weights != "equal":
        raise RecipeError(
            f"class_weights is {recipe.class_weights!r}, but {why}: "
            + ("it has no classes" if has_no_classes else "its rows have no class"),
            "Set class_weights to equal",
        )
    if recipe.head == "crf" and task.kind != "ner":
        raise RecipeError(f"head is 'crf', but {why}: it has no tagged words", "Set head to linear")
    if recipe.head == "crf" and recipe.label_smoothing > 0:
        raise RecipeError(
            f"head is 'crf' and label_smoothing {recipe.label_smoothing:g}: a chain has whole "
            "rows of tags, not single ones",
            "Set label_smoothing to 0, or head to linear",
        )


def check_warmup(recipe: Recipe, train_rows: int) -> None:
    """Refuse a warm-up in steps that the run ends before; one of over half of it is clamped.

    Raises:
        RecipeError: Naming the steps of the run.
    """
    steps = total_steps_of(recipe, train_rows)
    if recipe.warmup_steps is not None and recipe.warmup_steps > steps:
        raise RecipeError(
            f"warmup_steps is {recipe.warmup_steps}, but the run has {steps} steps ({train_rows} "
            f"training rows, batch_size {recipe.batch_size}, epochs {recipe.epochs}); allowed is "
            f"0 to {steps}",
            "Set a smaller warmup_steps, or warmup_fraction instead",
        )


def say_what_is_clamped(recipe: Recipe, total_steps: int) -> None:
    """Tell of a warm-up in steps that takes over half of a run of so many steps."""
    warmup = warmup_steps_of(recipe, total_steps)
    if recipe.warmup_steps is not None and warmup < recipe.warmup_steps:
        _LOGGER.warning(
            "warmup_steps is %d, but the run has %d steps: the rate rises over %d of them",
            recipe.warmup_steps,
            total_steps,
            warmup,
        )


def _check_augmentation(recipe: Recipe, task: Task) -> None:
    names = recipe.augmentations
    known = IMAGE_AUGMENTATIONS if task.modality == "image" else TEXT_AUGMENTATIONS
    if names and names[0] not in known:
        raise RecipeError(
            f"augmentation is {recipe.augmentation!r}, but {task.name!r} is a task of "
            f"{task.modality}s; allowed there are {', '.join(known)}",
            "Choose some of these, or none",
        )
    if "wordnet" in names:
        # What a pack of images runs on may not have what a text backbone needs.
        from metaft.finetuning.wordnet import load_wordnet

        load_wordnet()
    if names and task.kind in _ALIGNED_KINDS:
        raise RecipeError(
            f"augmentation is {recipe.augmentation!r}, but the labels of {task.name!r} "
            f"({task.kind}) stand at places of the text, which it would move",
            "Set augmentation to none",
        )
