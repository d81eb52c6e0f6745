"""Meta-training: outer steps over sampled episodes, up to an Initialisation."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metaft.backbones.backbone import Backbone
from metaft.backbones.load import load_backbone
from metaft.errors import PriorError, RecipeError, RunFailedError, TaskError
from metaft.finetuning.device import Compute, Device, resolve_compute
from metaft.finetuning.memory import peak_memory_mib, reset_peak_memory
from metaft.metalearning.algorithm import MetaAlgorithm
from metaft.metalearning.algorithms import ALGORITHMS
from metaft.metalearning.checkpoint import (
    Progress,
    checkpoint_beside,
    restore_checkpoint,
    save_checkpoint,
)
from metaft.metalearning.feed import EpisodeBatches, batch_episode
from metaft.metalearning.initialisation import Initialisation, differences_between
from metaft.metalearning.memory_plan import MemoryPlan, plan_memory
from metaft.metalearning.second_order import MetaSgd
from metaft.metalearning.settings import MetaSettings
from metaft.tasks.episodes import EpisodeSampler, EpisodeShape, episode_obstacle
from metaft.tasks.load import load_task
from metaft.tasks.task import Task

logger = logging.getLogger(__name__)

_EPISODE_ORDER = 2  # A stream of random numbers beside those of the episodes.
_STEM_ALONE = 1e-6
"""A frozen fraction that freezes the embeddings and no block."""


@dataclass(frozen=True, slots=True)
class MetaStep:
    """One outer step.

    Attributes:
        step: 1 for the first.
        steps: Outer steps wanted.
        loss: Mean query loss after adaptation over the step's episodes, in nats.
        wall_seconds: Of this step.
    """

    step: int
    steps: int
    loss: float
    wall_seconds: float


OnStep = Callable[[MetaStep], None]
OnPlan = Callable[[MemoryPlan], None]


def meta_train(
    tasks: Sequence[Task],
    backbone: Backbone,
    settings: MetaSettings,
    *,
    excluded: frozenset[str] = frozenset(),
    device: Device = "auto",
    on_plan: OnPlan | None = None,
    on_step: OnStep | None = None,
    time_limit_seconds: float | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 30.0,
) -> Initialisation:
    """Learn an initialisation over few-shot episodes of some tasks.

    Args:
        tasks: Classification tasks of the backbone's modality.
        backbone: Pretrained; stays as it is.
        settings: What to do.
        excluded: Held-out tasks; they and their relatives are left out.
        device: `auto` takes a GPU where there is one.
        on_plan: Called before the first step with the memory that is expected.
        on_step: Called after every outer step.
        time_limit_seconds: Stop before a step that would likely end after this; at least one
            step is taken. None sets no limit.
        checkpoint: File to go on from, where it exists, and to write; a training that was
            killed and goes on ends with the same result. More `steps` may be asked for later.
        checkpoint_seconds: Wall time between two writings of it; the end writes it too.

    Returns:
        The initialisation; with a time limit, after as many steps as fitted.

    Raises:
        MissingExtraError: If learn2learn is not installed.
        TaskError: If a task cannot give episodes, or none is left.
        RecipeError: If the settings freeze everything, or cannot be had on this machine.
        PriorError: If the checkpoint is broken, of another training, or further than this one
            goes.
        RunFailedError: If the loss is no longer finite.
    """
    _refuse_misfits(tasks, backbone, settings)
    sampler = EpisodeSampler(tasks, settings.shape, seed=settings.seed, excluded=excluded)
    compute = _resolve(device, settings)
    learner = copy.deepcopy(backbone).to(compute.device)
    learner.freeze(max(settings.frozen_fraction, _STEM_ALONE))
    classes = {task.name: len(task.label_names) for task in sampler.tasks}
    algorithm = ALGORITHMS[settings.algorithm](learner, settings, compute, classes)
    training = _Training(sampler, algorithm, checkpoint, checkpoint_seconds, on_step)
    plan = training.plan()
    if on_plan:
        on_plan(plan)
    progress = training.run(time_limit_seconds)
    return Initialisation(
        differences=differences_between(dict(backbone.named_parameters()), algorithm.weights),
        backbone=backbone.identity,
        backbone_fingerprint=backbone.fingerprint,
        settings=settings,
        tasks=tuple(task.name for task in sampler.tasks),
        steps=progress.step,
        train_seconds=progress.train_seconds,
        peak_memory_mib=progress.peak_memory_mib,
        learned_rates=_mean_rates(algorithm),
        cpu_seconds=progress.cpu_seconds,
    )


def train_initialisation(
    task_names: Sequence[str],
    backbone_id: str,
    settings: MetaSettings,
    out_path: Path,
    *,
    offline: bool = False,
    excluded: frozenset[str] = frozenset(),
    on_plan: OnPlan | None = None,
    on_step: OnStep | None = None,
    time_limit_seconds: float | None = None,
) -> Initialisation:
    """Load tasks and backbone, meta-train, and save the initialisation.

    A checkpoint lies beside `out_path` until all steps are taken, so the same call goes on
    after a kill or a time limit.

    Args:
        task_names: Names of tasks; those that cannot give episodes (regressions, too few
            rows) are left out.
        backbone_id: Identity of the backbone.
        settings: What to do.
        out_path: File to write, usually `init.safetensors` of a prior.
        offline: Never ask the hub.
        excluded: Held-out tasks; they and their relatives are left out.
        on_plan: Called before the first step with the memory that is expected.
        on_step: Called after every outer step.
        time_limit_seconds: See `meta_train`; the loading is not counted.

    Returns:
        The initialisation that was saved; its `tasks` are those that were used.

    Raises:
        BackboneError: If the backbone cannot be loaded.
        TaskError: If a task cannot be loaded, or none can give episodes.
        MetaftError: As `meta_train`.
    """
    checkpoint = checkpoint_beside(out_path)
    initialisation = meta_train(
        _load_usable(task_names, settings.shape, offline=offline),
        load_backbone(backbone_id, offline=offline),
        settings,
        excluded=excluded,
        on_plan=on_plan,
        on_step=on_step,
        time_limit_seconds=time_limit_seconds,
        checkpoint=checkpoint,
    )
    initialisation.save(out_path)
    if initialisation.steps == settings.steps:
        checkpoint.unlink()
    return initialisation


class _Training:
    """The outer loop of one meta-training; `run` is its only entry."""

    def __init__(
        self,
        sampler: EpisodeSampler,
        algorithm: MetaAlgorithm,
        checkpoint: Path | None,
        checkpoint_seconds: float,
        on_step: OnStep | None,
    ) -> None:
        self.sampler = sampler
        self.algorithm = algorithm
        self.settings = algorithm.settings
        self.device = algorithm.compute.device
        self.checkpoint = checkpoint
        self.checkpoint_seconds = checkpoint_seconds
        self.on_step = on_step
        self.progress = Progress()

    def run(self, time_limit_seconds: float | None) -> Progress:
        """Take the outer steps that are still to be taken, within the limit."""
        self._restore()
        reset_peak_memory(self.device)
        began = last_saved = time.perf_counter()
        while self.progress.step < self.settings.steps:
            step = self._take_step()
            now = time.perf_counter()
            if now - last_saved >= self.checkpoint_seconds:
                self._save()
                last_saved = time.perf_counter()
            if self.on_step:
                self.on_step(step)
            limit = math.inf if time_limit_seconds is None else time_limit_seconds
            if now - began + step.wall_seconds > limit:
                break
        self._save()
        return self.progress

    def plan(self) -> MemoryPlan:
        """Look at one episode of every task, and say what memory the training will take."""
        numbers = range(len(self.sampler.tasks))
        return plan_memory(self.algorithm, (self._batches(number, number) for number in numbers))

    def _take_step(self) -> MetaStep:
        began, cpu_began = time.perf_counter(), time.process_time()
        size = self.settings.meta_batch_size
        first = self.progress.step * size
        losses = [self._learn_from(number) for number in range(first, first + size)]
        loss = sum(losses) / size
        if not math.isfinite(loss):
            raise RunFailedError(
                f"meta-training diverged: the query loss is {loss} in step "
                f"{self.progress.step + 1}; lower inner_rate "
                f"({self.settings.effective_inner_rate:g}) or "
                f"outer_rate ({self.settings.effective_outer_rate:g})"
            )
        self.algorithm.step()
        seconds = time.perf_counter() - began
        self.progress = Progress(
            step=self.progress.step + 1,
            train_seconds=self.progress.train_seconds + seconds,
            cpu_seconds=self.progress.cpu_seconds + time.process_time() - cpu_began,
            peak_memory_mib=max(self.progress.peak_memory_mib, peak_memory_mib(self.device)),
        )
        return MetaStep(self.progress.step, self.settings.steps, loss, seconds)

    def _learn_from(self, visit: int) -> float:
        """Learn from the episode whose turn it is; its batches depend on nothing else."""
        return self.algorithm.learn_from(self._batches(_episode_at(visit, self.settings), visit))

    def _batches(self, number: int, visit: int) -> EpisodeBatches:
        """Cut an episode into batches, in another order at every visit."""
        rng = np.random.default_rng([self.settings.seed, visit])
        episode = self.sampler.episode(number)
        return batch_episode(episode, self.algorithm.backbone, self.settings, rng)

    def _restore(self) -> None:
        if self.checkpoint is not None:
            self.progress = restore_checkpoint(
                self.checkpoint,
                run=self._identity(),
                learned=self.algorithm.learned,
                optimizer=self.algorithm.optimizer,
            )
        if self.progress.step > self.settings.steps:
            raise PriorError(
                f"steps is {self.settings.steps}, but the checkpoint {self.checkpoint} has taken "
                f"{self.progress.step}; allowed is as many or more",
                f"Set steps to {self.progress.step}, or delete the checkpoint to start anew",
            )

    def _save(self) -> None:
        if self.checkpoint is not None:
            save_checkpoint(
                self.checkpoint,
                run=self._identity(),
                progress=self.progress,
                learned=self.algorithm.learned,
                optimizer=self.algorithm.optimizer,
            )

    def _identity(self) -> dict[str, Any]:
        """Say what this training is; neither its length nor how memory is saved is part of that."""
        settings = self.settings.to_mapping()
        del settings["steps"], settings["checkpointing"]
        return {
            **settings,
            "resolved_precision": self.algorithm.compute.precision,
            "backbone_fingerprint": self.algorithm.backbone.fingerprint,
            "tasks": {task.name: task.fingerprint for task in self.sampler.tasks},
        }


def _episode_at(visit: int, settings: MetaSettings) -> int:
    """Return the number of the episode that is visited: each once, then all in another order."""
    if settings.episodes is None:
        return visit
    epoch, place = divmod(visit, settings.episodes)
    order = np.random.default_rng([settings.seed, _EPISODE_ORDER, epoch])
    return int(order.permutation(settings.episodes)[place])


def _refuse_misfits(tasks: Sequence[Task], backbone: Backbone, settings: MetaSettings) -> None:
    for task in tasks:
        if task.modality != backbone.modality:
            raise TaskError(
                f"{task.name!r} is a task of {task.modality}s, but the backbone "
                f"{backbone.identity!r} takes {backbone.modality}s",
                f"Select tasks of {backbone.modality}s alone",
            )
    if backbone.frozen_blocks(settings.frozen_fraction) == backbone.depth:
        raise RecipeError(
            f"frozen_fraction is {settings.frozen_fraction:g}, which freezes all "
            f"{backbone.depth} blocks of {backbone.identity!r} and leaves nothing to meta-learn",
            "Set a smaller frozen_fraction",
        )


def _resolve(device: Device, settings: MetaSettings) -> Compute:
    """Settle device and precision; second derivatives need float32."""
    if settings.precision == "auto" and settings.is_second_order:
        return resolve_compute(device, "fp32")
    return resolve_compute(device, settings.precision)


def _mean_rates(algorithm: MetaAlgorithm) -> dict[str, float]:
    if not isinstance(algorithm, MetaSgd):
        return {}
    return {name: float(rate.detach().mean()) for name, rate in algorithm.rates.items()}


def _load_usable(names: Sequence[str], shape: EpisodeShape, *, offline: bool) -> list[Task]:
    """Load the tasks that can give episodes."""
    tasks = [load_task(name, offline=offline) for name in names]
    obstacles = {task.name: episode_obstacle(task, shape) for task in tasks}
    for obstacle in filter(None, obstacles.values()):
        logger.info("left out of meta-training: %s", obstacle)
    usable = [task for task in tasks if obstacles[task.name] is None]
    if not usable:
        raise TaskError(
            f"none of the {len(tasks)} tasks can give episodes; "
            f"{next(iter(obstacles.values()), 'none was selected')}",
            "Select classification tasks with more rows per class, or ask for fewer shots",
        )
    return usable
