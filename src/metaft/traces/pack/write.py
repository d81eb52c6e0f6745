"""Writing a pack: the runs that a store does not hold yet, with all that they need."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors

import metaft
from metaft.backbones.backbone import Backbone
from metaft.backbones.load import load_backbone, rebuild_backbone
from metaft.errors import PackError, UserError
from metaft.files import written_beside
from metaft.tasks.load import load_task
from metaft.tasks.task import Task
from metaft.traces.pack.halving import halved
from metaft.traces.pack.manifest import (
    BACKBONE_FILE,
    MANIFEST_FILE,
    PROGRAM_FILE,
    Manifest,
    PackedBackbone,
    PackedTask,
)
from metaft.traces.pack.rows import arrays_of
from metaft.traces.plan import BackboneFacts, TaskFacts, key_runs, problems_of
from metaft.traces.store import TraceStore
from metaft.traces.trace import PlannedRun

_SOURCE = Path(metaft.__file__).parent
_MIB = 1 << 20

# What `python PACK` runs, and what says there which version of metaft this is.
_PROGRAM = """import sys

from metaft.traces.pack.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["run", sys.argv[0], *sys.argv[1:]]))
"""
_METADATA = "Metadata-Version: 2.1\nName: metaft\nVersion: {version}\n"


@dataclass(frozen=True, slots=True)
class PackSummary:
    """What was packed.

    Attributes:
        tasks: Tasks of which runs were packed.
        runs: Runs that were packed.
        skipped: Runs that the store holds already.
        problems: Task -> why it was left out.
        size_mib: Of the pack.
        backbone_mib: Of the backbone in it.
    """

    tasks: int
    runs: int
    skipped: int
    problems: Mapping[str, str]
    size_mib: float
    backbone_mib: float


def write_pack(
    runs: Sequence[PlannedRun],
    store: TraceStore,
    out: Path,
    *,
    offline: bool = False,
    on_task: Callable[[str], None] | None = None,
) -> PackSummary:
    """Write the runs that a store does not hold yet, with everything that they need.

    The pack is a zip file that Python runs: `python PACK --out traces.jsonl`.

    Args:
        runs: What to pack, all on one backbone.
        store: What it holds is left out.
        out: The pack; whole or not at all.
        offline: Never ask the hub for tasks and the backbone.
        on_task: Called with the name of each task after it.

    Returns:
        What was packed. Tasks that cannot be loaded stand among its problems.

    Raises:
        BackboneError: If the backbone cannot be loaded.
        PackError: If nothing is left to pack.
    """
    backbone = load_backbone(runs[0].backbone, offline=offline)
    with written_beside(out) as beside:
        packing = _Packing(beside, runs[0].backbone, backbone, store)
        for name in dict.fromkeys(run.task for run in runs):
            packing.add_task(name, [run for run in runs if run.task == name], offline)
            if on_task:
                on_task(name)
        packing.finish(runs)
    return packing.summary(out)


class _Packing:
    """A pack that is being written; `identity` is what its runs call the backbone."""

    def __init__(self, path: Path, identity: str, backbone: Backbone, store: TraceStore) -> None:
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        self._identity, self._backbone, self._store = identity, backbone, store
        self._backbones = {identity: BackboneFacts(backbone.fingerprint, backbone.modality)}
        self._sha256: dict[str, str] = {}
        self._facts: dict[str, TaskFacts] = {}
        self._tasks: dict[str, PackedTask] = {}
        self._runs: dict[str, PlannedRun] = {}
        self._skipped = 0
        self._problems: dict[str, str] = {}

    def add_task(self, name: str, wanted: Sequence[PlannedRun], offline: bool) -> None:
        """Add the runs of one task that are missing, and its rows."""
        task, self._facts[name] = _look_at(name, offline)
        problems = problems_of(wanted, self._facts, self._backbones)
        if task is not None and task.is_by_token:
            problems = {
                name: f"tasks of kind {task.kind} cannot be packed yet; record them in place"
            }
        if task is None or problems:
            self._problems |= problems
            return
        keyed = key_runs(wanted, self._facts, self._backbones)
        stored = self._store.ids(keyed)
        missing = {key: run for key, run in keyed.items() if key not in stored}
        self._skipped += len(stored)
        if missing:
            self._runs |= missing
            self._tasks[name] = self._write_task(name, task, missing)

    def finish(self, order: Sequence[PlannedRun]) -> None:
        """Add the backbone, the program and the manifest.

        Args:
            order: The runs in the order in which they are to be made.

        Raises:
            PackError: If there are no runs.
        """
        if not self._runs:
            raise self._nothing()
        packed = self._write_backbone()
        for path in sorted(_SOURCE.rglob("*.py")):
            self._write(f"metaft/{path.relative_to(_SOURCE).as_posix()}", path.read_bytes())
        version = metaft.__version__
        self._write(
            f"metaft-{version}.dist-info/METADATA", _METADATA.format(version=version).encode()
        )
        self._write(PROGRAM_FILE, _PROGRAM.encode())
        manifest = Manifest(
            metaft_version=version,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            backbone=packed,
            tasks=self._tasks,
            runs=self._ordered(order),
            sha256=self._sha256,
        )
        self._zip.writestr(MANIFEST_FILE, manifest.to_json())
        self._zip.close()

    def summary(self, path: Path) -> PackSummary:
        """Sum up what was written."""
        with zipfile.ZipFile(path) as finished:
            backbone_bytes = finished.getinfo(BACKBONE_FILE).compress_size
        return PackSummary(
            tasks=len(self._tasks),
            runs=len(self._runs),
            skipped=self._skipped,
            problems=self._problems,
            size_mib=path.stat().st_size / _MIB,
            backbone_mib=backbone_bytes / _MIB,
        )

    def _write_task(self, name: str, task: Task, runs: Mapping[str, PlannedRun]) -> PackedTask:
        samples = sorted({(run.train_rows, run.seed) for run in runs.values()})
        encodings = sorted({(r.recipe.max_length, r.recipe.image_size) for r in runs.values()})
        file = f"tasks/{len(self._tasks):04}.safetensors"
        self._write(file, save_arrays(arrays_of(task, self._backbone, samples, encodings)))
        return PackedTask(
            name=name,
            kind=task.kind,
            metric=task.metric,
            label_names=task.label_names,
            fingerprint=task.fingerprint,
            file=file,
            encodings=tuple(encodings),
        )

    def _write_backbone(self) -> PackedBackbone:
        backbone, weights = self._backbone, halved(self._backbone.weights)
        blueprint = backbone.blueprint()
        rebuilt = rebuild_backbone(backbone.modality, blueprint, weights, identity=self._identity)
        self._write(BACKBONE_FILE, save_tensors(weights))
        return PackedBackbone(
            identity=self._identity,
            modality=backbone.modality,
            fingerprint=backbone.fingerprint,
            packed_fingerprint=rebuilt.fingerprint,
            blueprint=blueprint,
        )

    def _write(self, name: str, content: bytes) -> None:
        self._sha256[name] = hashlib.sha256(content).hexdigest()
        self._zip.writestr(name, content)

    def _ordered(self, order: Sequence[PlannedRun]) -> dict[str, PlannedRun]:
        """Order the runs as they were planned, not task by task."""
        packed = [run for run in order if run.task in self._tasks]
        keyed = key_runs(packed, self._facts, self._backbones)
        return {key: self._runs[key] for key in keyed if key in self._runs}

    def _nothing(self) -> PackError:
        if self._problems:
            return PackError(
                f"none of the tasks can be packed. {next(iter(self._problems.values()))}".rstrip(
                    "."
                ),
                "Give other --tasks",
            )
        return PackError(
            f"the store holds all {self._skipped} runs already: there is nothing to pack",
            "Ask for more recipes, sizes or seeds, or for other tasks",
        )


def _look_at(name: str, offline: bool) -> tuple[Task | None, TaskFacts]:
    try:
        task = load_task(name, offline=offline)
    except UserError as error:
        return None, TaskFacts(problem=str(error))
    return task, TaskFacts(task.fingerprint, len(task.train), task.modality)
