"""Manifest: what a pack holds, with the checksum of each of its files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metaft.errors import PackError, UserError
from metaft.recipes import Recipe
from metaft.tasks.task import Kind, Metric, Modality
from metaft.traces.trace import TRACE_SCHEMA, PlannedRun

PACK_SCHEMA = 1
"""Counts up when the files of a pack change; a pack of another schema is refused."""

MANIFEST_FILE = "manifest.json"
BACKBONE_FILE = "backbone.safetensors"
PROGRAM_FILE = "__main__.py"


@dataclass(frozen=True, slots=True)
class PackedBackbone:
    """The backbone of all runs of a pack.

    Attributes:
        identity: What it is called.
        modality: `text` or `image`.
        fingerprint: Of the weights as they were loaded; stands in the traces.
        packed_fingerprint: Of the weights in the pack, most of them rounded to half precision.
        blueprint: What it is built from, see `Backbone.blueprint`.
    """

    identity: str
    modality: Modality
    fingerprint: str
    packed_fingerprint: str
    blueprint: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PackedTask:
    """What the runs must know of a task beside its rows.

    Attributes:
        name: As the runs name it.
        kind, metric, label_names: Of the task.
        fingerprint: Of the whole task as it was loaded.
        file: Member of the pack that holds its rows.
        encodings: (tokens, pixels) that its rows are encoded in.
    """

    name: str
    kind: Kind
    metric: Metric
    label_names: tuple[str, ...]
    fingerprint: str
    file: str
    encodings: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a pack holds.

    Attributes:
        metaft_version: Of the machine that packed it.
        created_at: ISO 8601 in UTC.
        backbone: Of all runs.
        tasks: Name -> task.
        runs: Key -> run, in the order in which they are made.
        sha256: Member of the pack -> hexadecimal digest, for all but the manifest.
    """

    metaft_version: str
    created_at: str
    backbone: PackedBackbone
    tasks: Mapping[str, PackedTask]
    runs: Mapping[str, PlannedRun]
    sha256: Mapping[str, str]

    def to_json(self) -> str:
        """Return the manifest as JSON."""
        values = {
            "pack_schema": PACK_SCHEMA,
            "trace_schema": TRACE_SCHEMA,
            "metaft_version": self.metaft_version,
            "created_at": self.created_at,
            "backbone": dataclasses.asdict(self.backbone),
            "tasks": [dataclasses.asdict(task) for task in self.tasks.values()],
            "runs": [{"trace_id": key, **_written(run)} for key, run in self.runs.items()],
            "sha256": self.sha256,
        }
        return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            PackError: If it is no manifest, or one of another schema.
        """
        try:
            values = json.loads(text)
            _refuse_other_schema(values)
            backbone = PackedBackbone(**values["backbone"])
            tasks = [_task_from(task) for task in values["tasks"]]
            return cls(
                metaft_version=values["metaft_version"],
                created_at=values["created_at"],
                backbone=backbone,
                tasks={task.name: task for task in tasks},
                runs={r["trace_id"]: _run_from(r, backbone.identity) for r in values["runs"]},
                sha256=values["sha256"],
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PackError(
                f"the {MANIFEST_FILE} of the pack cannot be read: {error}", "Pack anew"
            ) from error


def _refuse_other_schema(values: Mapping[str, Any]) -> None:
    """Refuse a pack whose files or whose traces mean something else here."""
    for name, here in (("pack_schema", PACK_SCHEMA), ("trace_schema", TRACE_SCHEMA)):
        if values[name] != here:
            raise PackError(
                f"the pack has the {name} {values[name]} (metaft {values['metaft_version']}); "
                f"this version of metaft takes {here}",
                "Run it by the program that it holds (python PACK), or pack anew",
            )


def _written(run: PlannedRun) -> dict[str, Any]:
    return {"task": run.task, "train_rows": run.train_rows, "recipe": run.recipe.to_mapping()}


def _run_from(values: Mapping[str, Any], backbone: str) -> PlannedRun:
    try:
        recipe = Recipe.from_mapping(values["recipe"])
    except UserError as error:
        raise ValueError(str(error)) from error
    return PlannedRun(values["task"], backbone, recipe, values["train_rows"], recipe.seed)


def _task_from(values: Mapping[str, Any]) -> PackedTask:
    encodings = tuple((tokens, pixels) for tokens, pixels in values["encodings"])
    names = tuple(values["label_names"])
    return PackedTask(**{**values, "encodings": encodings, "label_names": names})
