"""Manifest: what `prior.json` says of a prior, checked where it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaft.errors import PriorError
from metaft.features.trial import TRIAL_FEATURES

if TYPE_CHECKING:
    from metaft.prior.calibration import Calibration
    from metaft.prior.screened import Screening
    from metaft.tasks.task import Kind, Sort

PRIOR_SCHEMA = 2
"""Counts up when a field changes its meaning; a prior of a newer schema is refused."""

MANIFEST, TRACES, FEATURES_FILE = "prior.json", "traces.parquet", "features.parquet"
INITIALISATION, README = "init.safetensors", "README.md"
SCREENING = "screening.parquet"
"""Traces that tell of the fields that no model varies; a prior without them has no such file."""

_FIT_AGAIN = "Fit it again with metaft prior fit, or name another prior"
_TYPES: dict[str, type] = {
    "name": str,
    "version": str,
    "created_at": str,
    "modality": str,
    "backbones": list,
    "train_rows": list,
    "space": dict,
    "metrics": list,
    "features": list,
    "tasks": list,
    "targets": list,
    "traces": int,
    "machine": dict,
    "files": dict,
    "calibration": dict,
    "tunings": dict,
    "validation": dict,
}
_FILES = (TRACES, FEATURES_FILE)


@dataclass(frozen=True, eq=False)
class Manifest:
    """What `prior.json` says, as plain values.

    Attributes:
        values: Every field by its name.
    """

    values: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check the manifest of a prior.

        Raises:
            PriorError: If it is missing, broken, of a newer schema, or lacks a field.
        """
        path = folder / MANIFEST
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise PriorError(
                f"the prior {str(folder)!r} has no readable {MANIFEST}: {error}",
                "Name a shipped prior (metaft prior list) or a folder that metaft prior fit wrote",
            ) from error
        _check(values, path)
        return cls(values)

    def write(self, folder: Path) -> None:
        """Write `prior.json`; what is not finite becomes null."""
        text = json.dumps(finite(dict(self.values)), indent=2, allow_nan=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def label(self) -> dict[str, Any]:
        """Return what an answer says of the prior it came from."""
        return {
            "name": self["name"],
            "version": self["version"],
            "tasks": len(self["tasks"]),
            "traces": self["traces"],
        }

    @property
    def backbones(self) -> tuple[str, ...]:
        """Return the identities of the backbones that were recorded."""
        return tuple(backbone["identity"] for backbone in self["backbones"])

    @property
    def described_tasks(self) -> frozenset[str]:
        """Return the tasks whose features are shipped."""
        return frozenset([*self["targets"], *(task["name"] for task in self["tasks"])])

    @property
    def kinds(self) -> frozenset[Kind]:
        """Return the kinds of the training tasks."""
        return frozenset(task["kind"] for task in self["tasks"])

    @property
    def relatives(self) -> dict[str, frozenset[str]]:
        """Return training task -> its relatives."""
        return {task["name"]: frozenset(task["relatives"]) for task in self["tasks"]}

    @property
    def is_probed(self) -> bool:
        """Whether trial steps were taken on its training tasks."""
        return set(TRIAL_FEATURES) <= set(self["features"])

    @property
    def screening(self) -> Screening | None:
        """Return what screening traces said; None where the prior has none.

        Raises:
            PriorError: If a newer version of metaft wrote it, or it is broken.
        """
        from metaft.prior.screened import Screening

        stored = self.values.get("screening")
        return None if stored is None else Screening.from_mapping(stored)

    def has_seen(self, task: str, fingerprint: str) -> bool:
        """Say whether a task, or one with the same rows, was trained on or screened."""
        known = [(trained["name"], trained["fingerprint"]) for trained in self["tasks"]]
        known += (self.values.get("screening") or {"tasks": {}})["tasks"].items()
        return any(name == task or own == fingerprint for name, own in known)

    def calibration_of(self, sort: Sort) -> Calibration:
        """Return how far the models are trusted, asked about a task of some sort."""
        return self._read_calibration(_of_sort(self.values, sort))

    def probed_calibration_of(self, sort: Sort) -> Calibration:
        """Return how far the models that know of trial steps are trusted likewise."""
        return self._read_calibration(_of_sort(self["probe"], sort))

    @staticmethod
    def _read_calibration(stored: Mapping[str, Any]) -> Calibration:
        from metaft.prior.calibration import Calibration

        width, elsewhere = stored["relative_width"], stored["relative_width_elsewhere"]
        return Calibration(
            weight=stored["weight"],
            near=stored["near"],
            far=stored["far"],
            relative_width=math.inf if width is None else width,
            relative_width_elsewhere=math.nan if elsewhere is None else float(elsewhere),
        )


def finite(value: Any) -> Any:
    """Replace numbers that JSON cannot say (NaN, infinities) by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [finite(item) for item in value]
    return value


def _check(values: Any, path: Path) -> None:
    if not isinstance(values, dict) or not isinstance(values.get("schema"), int):
        raise PriorError(f"{path} is no description of a prior: it has no schema", _FIT_AGAIN)
    if values["schema"] > PRIOR_SCHEMA:
        raise PriorError(
            f"{path} has schema {values['schema']}; this version of metaft reads up to "
            f"{PRIOR_SCHEMA}",
            "Update metaft, or name another prior",
        )
    if values["schema"] < PRIOR_SCHEMA:
        raise PriorError(
            f"{path} has schema {values['schema']}; this version of metaft reads {PRIOR_SCHEMA}: "
            "its traces and features are still good, its calibration means something else",
            _FIT_AGAIN,
        )
    for name, kind in _TYPES.items():
        if not isinstance(values.get(name), kind):
            raise PriorError(
                f"{path} has {name}: {values.get(name)!r}; it must be of type {kind.__name__}",
                _FIT_AGAIN,
            )
    missing = [name for name in _FILES if name not in values["files"]]
    if missing:
        raise PriorError(f"{path} does not name the file {missing[0]}", _FIT_AGAIN)


def _of_sort(figures: Mapping[str, Any], sort: Sort) -> Mapping[str, Any]:
    """Return the calibration of a sort; that of most tasks where it has none of its own."""
    own: Mapping[str, Any] = figures.get("calibrations", {}).get(sort, figures["calibration"])
    return own
