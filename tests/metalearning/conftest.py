"""Episodes and backbones that are small enough to do the algorithms' sums by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metaft.backbones.backbone import Backbone
from metaft.metalearning.feed import EpisodeBatches, batch_episode
from metaft.metalearning.settings import MetaSettings
from metaft.tasks.episodes import EpisodeSampler
from metaft.tasks.task import Task


@pytest.fixture
def small_settings() -> Callable[..., MetaSettings]:
    """Return a factory of settings for tiny tasks; anything may be set."""

    def build(**changed: object) -> MetaSettings:
        values = {
            "inner_rate": 0.05,
            "inner_steps": 2,
            "meta_batch_size": 2,
            "steps": 3,
            "ways": (2, 3),
            "shots": (4,),
            "query_shots": 3,
            "max_length": 32,
            "image_size": 32,
            "precision": "fp32",
        }
        return MetaSettings(**{**values, **changed})  # type: ignore[arg-type]

    return build


@pytest.fixture
def episode_batches() -> Callable[..., EpisodeBatches]:
    """Return a function that cuts the first episode of a task into batches."""

    def build(
        task: Task, backbone: Backbone, settings: MetaSettings, number: int = 0
    ) -> EpisodeBatches:
        episode = EpisodeSampler([task], settings.shape, seed=1).episode(number)
        return batch_episode(episode, backbone, settings, np.random.default_rng(number))

    return build
