"""Packs of tiny tasks and tiny backbones, and the runs in place that they must equal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from torch import nn

from metaft.recipes import Recipe
from metaft.traces.pack.write import write_pack
from metaft.traces.plan import plan_runs
from metaft.traces.store import TraceStore
from metaft.traces.trace import PlannedRun

if TYPE_CHECKING:
    from tests.conftest import ImageBackboneFactory, TaskFactory

RECIPES = [
    Recipe(learning_rate=1e-4, epochs=2, frozen_fraction=0.5, head_init="linear_probe"),
    Recipe(learning_rate=3e-3, epochs=2, max_length=16, image_size=32),
]


@pytest.fixture(scope="session")
def text_runs(task_folder: str, backbone_folder: str) -> list[PlannedRun]:
    """Return runs on a tiny task with 24 training rows."""
    return plan_runs([task_folder], backbone_folder, RECIPES, sizes=[16, 512], seeds=2)


@pytest.fixture(scope="session")
def text_pack(text_runs: list[PlannedRun], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a pack of them."""
    folder = tmp_path_factory.mktemp("text_pack")
    write_pack(text_runs, TraceStore(f"sqlite:///{folder / 's.db'}"), folder / "text.pack")
    return folder / "text.pack"


@pytest.fixture(scope="session")
def image_runs(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_task: TaskFactory,
    tiny_image_backbone: ImageBackboneFactory,
) -> list[PlannedRun]:
    """Return one run on a folder of images."""
    folder = tmp_path_factory.mktemp("images")
    task = tiny_task(rows=24, kind="image_classification")
    for number, image in enumerate(task.train.images or ()):
        below = folder / "rows" / task.label_names[task.train.labels[number]]
        below.mkdir(parents=True, exist_ok=True)
        (below / f"{number}.png").write_bytes(image)
    (folder / "backbone").mkdir()
    backbone = tiny_image_backbone()
    backbone.save(folder / "backbone", nn.Linear(backbone.width, 2), task.label_names)
    tasks, identity = [str(folder / "rows")], str(folder / "backbone")
    return plan_runs(tasks, identity, RECIPES[1:], sizes=[8], seeds=1)
