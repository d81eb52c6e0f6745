"""The fine-tuning loop: one Task, one Backbone, one Recipe, one Outcome."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaft.backbones.backbone import Backbone
from metaft.errors import TaskError
from metaft.finetuning.augmentation import Augmenter, build_augmenter
from metaft.finetuning.batches import evaluation_batches, training_batches
from metaft.finetuning.clock import Clock
from metaft.finetuning.curve import best_epoch_of, epochs_to_share
from metaft.finetuning.device import Compute, Device, resolve_compute
from metaft.finetuning.feed import Feed, open_feed
from metaft.finetuning.fitness import check_fit, say_what_is_clamped
from metaft.finetuning.freezing import frozen_parts, learning_parts
from metaft.finetuning.memory import is_out_of_memory, reset_peak_memory
from metaft.finetuning.model import Classifier, restore_state, trainable, trained_state
from metaft.finetuning.objectives import Objective, objective_of
from metaft.finetuning.optimizers import build_optimizer
from metaft.finetuning.outcome import NO_COSTS, Costs, EpochRecord, Outcome, Scores, Status
from metaft.finetuning.prefix_cache import SPLITS, PrefixCache, SplitName
from metaft.finetuning.schedules import total_steps_of
from metaft.finetuning.stepper import Stepper
from metaft.recipes import Recipe
from metaft.tasks.split import test_halves
from metaft.tasks.task import Split, Task

_DIVERGED_FACTOR = 4.0
"""A run has diverged when an epoch's mean loss exceeds this many times that of a guess."""

OnEpoch = Callable[[EpochRecord], None]


@dataclass(frozen=True, eq=False)
class FineTuned:
    """A run's result: the model after its best epoch (None where no epoch finished)."""

    model: Classifier | None
    outcome: Outcome


class _DivergedError(Exception):
    """The loss left the range in which training can recover."""


def fine_tune(
    task: Task,
    backbone: Backbone,
    recipe: Recipe,
    *,
    device: Device = "auto",
    test_every_epoch: bool = False,
    cache: PrefixCache | None = None,
    deterministic: bool = False,
    on_epoch: OnEpoch | None = None,
) -> FineTuned:
    """Fine-tune a copy of a pretrained backbone on a task.

    Divergence and out-of-memory are outcomes, not errors. The validation rows choose the
    epoch; the test rows only report.

    Args:
        task: Used as it is given; sub-sample it first.
        backbone: Pretrained; stays as it is.
        recipe: What to do.
        device: `auto` takes a GPU where there is one.
        test_every_epoch: Score the test rows after every epoch, for traces; otherwise only
            after the best one.
        cache: Shared by runs of the same task and backbone; None makes one for this run.
        deterministic: Refuse operations that are not reproducible bit for bit.
        on_epoch: Called after every epoch.

    Returns:
        The model after its best epoch, and the outcome.

    Raises:
        RecipeError: If device or precision cannot be had here, or the recipe does not fit the
            task or the backbone.
        TaskError: If the backbone's modality is not the task's.
        MissingExtraError: If the recipe's optimiser is not installed.
    """
    run = begin_run(
        task,
        backbone,
        recipe,
        device=device,
        test_every_epoch=test_every_epoch,
        cache=cache,
        deterministic=deterministic,
    )
    run.advance(on_epoch=on_epoch)
    return run.finish()


def begin_run(
    task: Task,
    backbone: Backbone,
    recipe: Recipe,
    *,
    device: Device = "auto",
    test_every_epoch: bool = False,
    cache: PrefixCache | None = None,
    deterministic: bool = False,
) -> OpenRun:
    """Return a run that has not taken a step yet; for arguments and errors see `fine_tune`."""
    if backbone.modality != task.modality:
        raise TaskError(
            f"{task.name!r} is a task of {task.modality}s, but the backbone "
            f"{backbone.identity!r} takes {backbone.modality}s",
            f"Choose a backbone for {task.modality}s",
        )
    check_fit(recipe, task, backbone)
    compute = resolve_compute(device, recipe.precision)
    cache = cache or PrefixCache(task, backbone, recipes=[recipe])
    return OpenRun(task, recipe, compute, cache, test_every_epoch, deterministic)


@dataclass(eq=False)
class OpenRun:
    """A run that may rest after any epoch, and then goes on as if it never had.

    Make one with `begin_run`. Runs that take turns do not see each other: each keeps its model,
    its optimiser and its random numbers.
    """

    task: Task
    recipe: Recipe
    compute: Compute
    cache: PrefixCache
    test_every_epoch: bool
    deterministic: bool
    on_epoch: OnEpoch | None = None
    curve: list[EpochRecord] = field(default_factory=list)
    model: Classifier | None = None
    stepper: Stepper | None = None
    best_epoch: int = 0
    best_state: dict[str, Tensor] | None = None
    status: Status = "ok"
    reason: str = ""
    costs: Costs = NO_COSTS
    order: np.random.Generator = field(init=False)
    objective: Objective[Any] = field(init=False)
    random_states: list[Tensor] | None = None
    learning: frozenset[str] = frozenset()
    augmenter: Augmenter | None = None

    def __post_init__(self) -> None:
        self.order = np.random.default_rng(self.recipe.seed)
        self.objective = objective_of(self.task, self.recipe)

    def advance(self, until: int | None = None, *, on_epoch: OnEpoch | None = None) -> bool:
        """Train to the end of an epoch, or to wherever the run ends before.

        Args:
            until: The epoch, counted from 1; None is the recipe's last.
            on_epoch: Called after every epoch.

        Returns:
            Whether the run could go on from there.
        """
        self.on_epoch = on_epoch
        last = self.recipe.epochs if until is None else min(until, self.recipe.epochs)
        with self._at_work():
            try:
                with self._seeing_memory_run_out():
                    self._train(last)
            except _DivergedError as error:
                self.status, self.reason = "diverged", str(error)
        is_over = self.status != "ok" or self._is_patience_over()
        return not is_over and len(self.curve) < self.recipe.epochs

    def finish(self) -> FineTuned:
        """Return the model after its best epoch so far, and the outcome."""
        test: Scores = {}
        if self.best_epoch:
            with self._at_work():
                test = self._finish()
        return FineTuned(self.model if self.best_epoch else None, self._outcome(test))

    @contextlib.contextmanager
    def _seeing_memory_run_out(self) -> Iterator[None]:
        """Make it the run's outcome where memory runs out."""
        try:
            yield
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            lines = str(error).splitlines() or [type(error).__name__]
            self.status, self.reason = "out_of_memory", lines[0]

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Go on with the run's own random numbers, and count what is spent."""
        before_mib = reset_peak_memory(self.compute.device)
        clock = Clock(self.compute.device)
        with seeded(self.recipe.seed, self.compute.device, self.deterministic):
            if self.random_states is not None:
                _set_random_states(self.random_states)
            yield
            self.random_states = _random_states(self.compute.device)
        spent = dataclasses.replace(clock.stop(), memory_before_mib=before_mib)
        self.costs = self.costs.plus(spent)

    def _train(self, last: int) -> None:
        if self.stepper is None:
            self.stepper = self._set_up()
        while len(self.curve) < last and self.status == "ok" and not self._is_patience_over():
            epoch = len(self.curve) + 1
            self._freeze(epoch)
            train = open_feed(self.cache, "train", self.recipe, self.compute, epoch)
            if self.augmenter:
                train = dataclasses.replace(train, augmenter=self.augmenter, epoch=epoch)
            began = time.perf_counter()
            self._live_model().train()
            loss = self._train_epoch(self.stepper, train, self.order)
            self._record(epoch, loss, time.perf_counter() - began)

    def _set_up(self) -> Stepper:
        examples = self.cache.examples("train", self.recipe)
        self.augmenter = build_augmenter(
            self.cache.backbone, self.task.train, examples, self.recipe
        )
        self.model = model = self._build_model()
        self.learning = frozenset(trainable(model))
        optimizer = build_optimizer(model, self.recipe)
        total_steps = total_steps_of(self.recipe, len(examples))
        say_what_is_clamped(self.recipe, total_steps)
        self.objective.prepare(examples, self.compute)
        return Stepper(model, optimizer, self.objective, self.compute, total_steps)

    def _freeze(self, epoch: int) -> None:
        """Thaw what gradual unfreezing thaws in an epoch; all else was frozen from the start."""
        if self.recipe.freezing == "gradual":
            backbone = self._live_model().backbone
            parts = frozen_parts(self.recipe, backbone.depth, epoch)
            backbone.freeze_parts(parts.blocks, stem=parts.stem)

    def _train_epoch(self, stepper: Stepper, feed: Feed, rng: np.random.Generator) -> float:
        """Pass once over the training rows; return the mean loss."""
        total = torch.zeros((), device=self.compute.device)
        stepper.begin_epoch()
        batches = training_batches(feed.examples.lengths, self.recipe.batch_size, rng)
        for rows in batches:
            total += stepper.step(feed, rows)
        loss = stepper.end_epoch(total)
        guess = self.objective.guess_loss
        if not math.isfinite(loss) or loss > _DIVERGED_FACTOR * guess:
            raise _DivergedError(
                f"mean training loss {loss:.3g} in epoch {len(self.curve) + 1} "
                f"(guessing gives {guess:.3g})"
            )
        return loss

    def _record(self, epoch: int, loss: float, train_seconds: float) -> None:
        began = time.perf_counter()
        validation = self._score("validation", epoch)[0]
        test, halves = self._score("test", epoch) if self.test_every_epoch else ({}, ())
        self.curve.append(
            EpochRecord(
                epoch=epoch,
                train_loss=loss,
                validation=validation,
                test=test,
                test_halves=halves,
                train_seconds=train_seconds,
                evaluation_seconds=time.perf_counter() - began,
            )
        )
        if epoch == best_epoch_of(self.curve, self.task.metric):
            self.best_epoch = epoch
            self.best_state = trained_state(self._live_model(), self.learning)
        if self.on_epoch:
            self.on_epoch(self.curve[-1])

    def _finish(self) -> Scores:
        """Go back to the best epoch, score its test rows, and let the head give raw units.

        Where memory runs out over the test rows, their scores are NaN, and the model is there.
        """
        restore_state(self._live_model(), self.best_state or {})
        self._live_model().eval()
        best = self.curve[self.best_epoch - 1]
        test = best.test
        if not test:
            test = dict.fromkeys(best.validation, math.nan)
            with self._seeing_memory_run_out():
                test = self._score("test", self.best_epoch)[0]
        self.objective.finish(self._live_model())
        self._live_model().backbone.restore_vocabulary()
        return test

    def _score(self, split: SplitName, epoch: int) -> tuple[Scores, tuple[float, ...]]:
        """Score the model after an epoch on a split; the halves are those of the test rows."""
        rows: Split = getattr(self.task, split)
        feed = open_feed(self.cache, split, self.recipe, self.compute, epoch)
        answers = self._predict(feed, rows)
        has_halves = split == "test" and len(rows) > 1
        halves = test_halves(self.task) if has_halves else ()
        of_halves = [self.objective.score(answers, rows, half) for half in halves]
        return (
            self.objective.score(answers, rows, np.arange(len(rows))),
            tuple(scores[self.task.metric] for scores in of_halves),
        )

    @torch.inference_mode()
    def _predict(self, feed: Feed, split: Split) -> list[Any]:
        """Return what the model says of every encoded row of a split, in their order."""
        model = self._live_model().eval()
        answers: list[Any] = [None] * len(feed.examples)
        for rows in evaluation_batches(feed.examples.lengths):
            logits = feed.logits(model, rows)
            read = self.objective.read(model, logits, feed.examples, rows, split)
            for row, answer in zip(rows, read, strict=True):
                answers[row] = answer
        return answers

    def _build_model(self) -> Classifier:
        """Copy the pretrained backbone, put a head on it, and freeze what never learns."""
        model = self.objective.new_model(copy.deepcopy(self.cache.backbone))
        if self.recipe.head_init == "linear_probe":
            self.objective.fit_head(model, self.cache, self.compute)
        parts = learning_parts(self.recipe, model.backbone.depth)
        if not parts.stem:
            examples = [self.cache.examples(split, self.recipe) for split in SPLITS]
            examples += [self.augmenter.added] if self.augmenter else []
            model.backbone.trim_vocabulary(examples)
        model.backbone.freeze_parts(parts.blocks, stem=parts.stem)
        return model.to(self.compute.device)

    def _is_patience_over(self) -> bool:
        patience = self.recipe.early_stopping_patience
        return patience is not None and len(self.curve) - self.best_epoch >= patience

    def _live_model(self) -> Classifier:
        if self.model is None:
            raise RuntimeError("the model is built before anything is scored")
        return self.model

    def _outcome(self, test: Scores) -> Outcome:
        best = self.curve[self.best_epoch - 1].validation if self.best_epoch else {}
        return Outcome(
            status=self.status,
            reason=self.reason,
            curve=tuple(self.curve),
            best_epoch=self.best_epoch,
            validation=best,
            test=test,
            costs=self.costs,
            epochs_to_95_percent=epochs_to_share(self.curve, self.task.metric, 0.95),
            precision=self.compute.precision,
            device=self.compute.device,
        )


@contextlib.contextmanager
def seeded(seed: int, device: str, deterministic: bool = False) -> Iterator[None]:
    """Seed torch for a run, and leave its state as it was."""
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[0] if device == "cuda" else []):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(deterministic or was_deterministic)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(was_deterministic)


def _random_states(device: str) -> list[Tensor]:
    """Return the state of torch's generators that a run draws from."""
    on_gpu = [torch.cuda.get_rng_state()] if device == "cuda" else []
    return [torch.get_rng_state(), *on_gpu]


def _set_random_states(states: list[Tensor]) -> None:
    """Go on where `_random_states` was called."""
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state)
