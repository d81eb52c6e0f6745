"""Traces made up by hand, and a tiny task and backbone on disk that worker processes load."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from tests.traces.postgresql import Server, running_server

from metaft.finetuning.outcome import Costs, EpochRecord
from metaft.recipes import Recipe
from metaft.tasks.task import Split
from metaft.traces.environment import Environment
from metaft.traces.store import TraceStore
from metaft.traces.trace import TRACE_SCHEMA, Trace

if TYPE_CHECKING:
    from tests.conftest import TaskFactory

_ENVIRONMENT = Environment(
    python_version="3.11.7",
    torch_version="2.15.0",
    transformers_version="5.23.0",
    timm_version="1.0.31",
    metaft_version="0.1.0",
    cpu_model="made up",
    cpu_cores=2,
    threads=1,
    gpu_name="",
)
_SPLITS = ("train", "validation", "test")


class TraceFactory(Protocol):
    """Makes up a trace; equal arguments give equal traces."""

    def __call__(self, trace_id: str = "0" * 32, **changes: Any) -> Trace: ...


@pytest.fixture(scope="session")
def make_trace() -> TraceFactory:
    """Return a factory of traces of two epochs on a task of two classes."""
    return build_trace


def build_trace(trace_id: str = "0" * 32, **changes: Any) -> Trace:
    """Make up a trace of two epochs on a task of two classes."""
    curve = (_record(1, 0.7, 0.5), _record(2, 0.4, 0.75))
    trace = Trace(
        trace_id=trace_id,
        schema=TRACE_SCHEMA,
        task="tiny",
        task_fingerprint="f" * 16,
        kind="classification",
        metric="accuracy",
        backbone="tiny-bert",
        backbone_fingerprint="b" * 16,
        recipe=Recipe(epochs=2),
        train_rows=48,
        seed=0,
        status="ok",
        reason="",
        curve=curve,
        best_epoch=2,
        validation=curve[1].validation,
        test=curve[1].test,
        costs=Costs(2.5, 2.25, None, 512.0),
        epochs_to_95_percent=2,
        precision="fp32",
        device="cpu",
        environment=_ENVIRONMENT,
        created_at="2026-01-01T00:00:00+00:00",
        overhead_seconds=0.5,
        prefix_seconds=0.25,
    )
    return dataclasses.replace(trace, **changes)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """Return a PostgreSQL server; without one the test is skipped."""
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def any_store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a store that is not there yet, on each database in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'traces.db'}"
    server: Server = request.getfixturevalue("postgresql")
    return server.create_database()


@pytest.fixture
def any_store(any_store_url: str) -> Iterator[TraceStore]:
    """Return an empty store, on each database in turn."""
    store = TraceStore(any_store_url)
    yield store
    store.close()


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """Return the URL of a store that is not there yet."""
    return f"sqlite:///{tmp_path / 'traces.db'}"


@pytest.fixture
def store(store_url: str) -> TraceStore:
    """Return an empty store."""
    return TraceStore(store_url)


@pytest.fixture(scope="session")
def task_folder(tmp_path_factory: pytest.TempPathFactory, tiny_task: TaskFactory) -> str:
    """Return a folder with the three splits of a tiny task, as `load_task` takes it."""
    folder = tmp_path_factory.mktemp("tiny_task")
    task = tiny_task(rows=24)
    for name in _SPLITS:
        _write_split(folder / f"{name}.csv", getattr(task, name), task.label_names)
    return str(folder)


def _record(epoch: int, loss: float, accuracy: float) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        train_loss=loss,
        validation={"accuracy": accuracy, "macro_f1": accuracy - 0.125, "loss": loss},
        test={"accuracy": accuracy - 0.0625, "macro_f1": accuracy - 0.25, "loss": loss},
        test_halves=(accuracy, accuracy - 0.125),
        train_seconds=1.0,
        evaluation_seconds=0.25,
    )


def _write_split(path: Path, split: Split, label_names: tuple[str, ...]) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for text, label in zip(split.texts or (), split.labels, strict=True):
            rows.writerow([text, label_names[label]])
