"""A tiny backbone on disk, tiny files, their real traces, and the prior that these give."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from metaft.cli import group

if TYPE_CHECKING:
    from tests.conftest import TaskFactory, TextBackboneFactory


@dataclass(frozen=True)
class Traced:
    """Real traces of a tiny backbone on tiny files.

    Attributes:
        backbone: Folder of the backbone.
        files: CSV files that were recorded.
        new_file: One that was not.
        traces: Parquet file, as `metaft traces export` writes it.
    """

    backbone: str
    files: list[str]
    new_file: str
    traces: Path


@pytest.fixture(scope="session")
def traced(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_text_backbone: TextBackboneFactory,
    tiny_task: TaskFactory,
) -> Traced:
    """Fine-tune a tiny backbone on three files, with four recipes each."""
    from torch import nn

    from metaft.backbones.load import load_backbone
    from metaft.recipes import design
    from metaft.tasks.load import load_task
    from metaft.traces.bench import Bench
    from metaft.traces.table import write_parquet
    from metaft.traces.trace import PlannedRun

    folder = tmp_path_factory.mktemp("traced")
    (folder / "backbone").mkdir()
    tiny = tiny_text_backbone()
    tiny.save(folder / "backbone", nn.Linear(tiny.width, 2), ("river", "engine"))
    backbone = str(folder / "backbone")
    files = [_write_csv(folder / f"file{seed}.csv", tiny_task, seed) for seed in range(4)]
    traces = []
    for path in files[:3]:
        task = load_task(path)
        bench = Bench(task, task.fingerprint, load_backbone(backbone))
        for recipe in design(4, 3):
            run = PlannedRun(path, backbone, recipe, len(task.train), 0)
            traces.append(bench.record(run, time.perf_counter()))
    write_parquet(traces, folder / "traces.parquet")
    return Traced(backbone, files[:3], files[3], folder / "traces.parquet")


@pytest.fixture(scope="session")
def tiny_prior(traced: Traced, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the prior that `metaft prior fit --probe` makes of the traces.

    Nobody may change it.
    """
    out = tmp_path_factory.mktemp("priors") / "tiny-v0"
    options = ["--traces", str(traced.traces), "--out", str(out), "--probe", "--format", "json"]
    done = CliRunner().invoke(group, ["prior", "fit", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return out


def _write_csv(path: Path, tiny_task: TaskFactory, seed: int) -> str:
    task = tiny_task(rows=64, seed=seed)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        labels = (task.label_names[label] for label in task.train.labels)
        rows.writerows(zip(task.train.texts or (), labels, strict=True))
    return str(path)
