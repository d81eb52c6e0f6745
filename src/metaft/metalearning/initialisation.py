"""Initialisation: meta-learned weights as differences to the pretrained ones, and its file.

Differences, not values: a meta-learned weight lies so near the pretrained one that the nearest
half-precision value is often the same for both. bfloat16, because a difference may be of any
size: it keeps the range of float32, and an error below 0.4 % of the change does no harm.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from metaft.backbones.backbone import Backbone
from metaft.errors import PriorError, UserError
from metaft.files import written_beside
from metaft.metalearning.settings import MetaSettings

INITIALISATION_SCHEMA = 1
_HEADER = "metaft"


@dataclass(frozen=True, eq=False)
class Initialisation:
    """Meta-learned weights of one backbone.

    Attributes:
        differences: Parameter name -> meta-learned minus pretrained value, bfloat16; only
            the parameters that changed.
        backbone: Identity of the backbone.
        backbone_fingerprint: Fingerprint of the pretrained backbone.
        settings: How it was trained.
        tasks: Names of the tasks it was trained on, sorted.
        steps: Outer steps taken; fewer than `settings.steps` where a time limit ended it.
        train_seconds: Wall time of all steps.
        peak_memory_mib: Highest memory of the training, MiB.
        learned_rates: Meta-SGD's mean learned rate of each parameter; empty otherwise.
        cpu_seconds: Processor time of all steps; 0 where it is not known.
    """

    differences: Mapping[str, Tensor]
    backbone: str
    backbone_fingerprint: str
    settings: MetaSettings
    tasks: tuple[str, ...]
    steps: int
    train_seconds: float
    peak_memory_mib: float
    learned_rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    cpu_seconds: float = 0.0

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over the pretrained backbone and every difference."""
        digest = hashlib.sha256(self.backbone_fingerprint.encode())
        for name, difference in sorted(self.differences.items()):
            digest.update(name.encode())
            digest.update(difference.contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def to_mapping(self) -> dict[str, Any]:
        """Return everything but the differences as plain values."""
        kept = [field.name for field in dataclasses.fields(self) if field.name != "differences"]
        values = {name: getattr(self, name) for name in kept}
        return {
            **values,
            "settings": self.settings.to_mapping(),
            "tasks": list(self.tasks),
            "learned_rates": dict(self.learned_rates),
        }

    def save(self, path: Path) -> None:
        """Write one safetensors file, whole or not at all; all but tensors is in its header."""
        header = {"schema": INITIALISATION_SCHEMA, **self.to_mapping()}
        content = save(dict(self.differences), metadata={_HEADER: json.dumps(header)})
        with written_beside(path) as beside:
            beside.write_bytes(content)  # safetensors' own files are for their owner alone.


def differences_between(
    pretrained: Mapping[str, Tensor], learned: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return learned minus pretrained value of each parameter that changed, in bfloat16."""
    found = {}
    for name, value in learned.items():
        difference = (value.detach() - pretrained[name].detach()).to("cpu", torch.bfloat16)
        if difference.any():
            found[name] = difference.contiguous()
    return found


def load_initialisation(path: Path) -> Initialisation:
    """Read an initialisation.

    Raises:
        PriorError: If the file is missing, broken, or of another kind or schema.
    """
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER, "null"))
            differences = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise PriorError(
            f"the initialisation {path} cannot be read: {error}",
            "Give an init.safetensors that `metaft meta-train --stages init` wrote",
        ) from error
    return _parse(path, header, differences)


def apply_initialisation(backbone: Backbone, initialisation: Initialisation) -> None:
    """Move a pretrained backbone's weights to the meta-learned ones, in place.

    Its fingerprint changes with them: runs from there are other runs, and applying twice is
    refused.

    Args:
        backbone: Pretrained, as the initialisation was trained on.
        initialisation: From `load_initialisation` or `meta_train`.

    Raises:
        PriorError: If it belongs to another backbone, or does not fit.
    """
    if backbone.fingerprint != initialisation.backbone_fingerprint:
        raise PriorError(
            f"the initialisation was trained on {initialisation.backbone!r} with the fingerprint "
            f"{initialisation.backbone_fingerprint}, but the backbone is {backbone.identity!r} "
            f"with the fingerprint {backbone.fingerprint}",
            "Use that backbone with its pretrained weights, or start from the pretrained ones",
        )
    weights = dict(backbone.named_parameters())
    for name, difference in initialisation.differences.items():
        if name not in weights or weights[name].shape != difference.shape:
            raise PriorError(
                f"the initialisation's tensor {name!r} of shape {tuple(difference.shape)} fits "
                f"no parameter of {backbone.identity!r}",
                "Train the initialisation anew with this version of metaft",
            )
    with torch.no_grad():
        for name, difference in initialisation.differences.items():
            weights[name].add_(difference.to(weights[name]))
    backbone.fingerprint = initialisation.fingerprint


def _parse(path: Path, header: Any, differences: dict[str, Tensor]) -> Initialisation:
    """Turn a file's header and tensors into an Initialisation, or say what is wrong."""
    retrain = "Train it anew with `metaft meta-train --stages init`"
    schema = header.get("schema") if isinstance(header, dict) else None
    if schema != INITIALISATION_SCHEMA:
        raise PriorError(
            f"{path} has the initialisation schema {schema!r}; readable is {INITIALISATION_SCHEMA}",
            retrain,
        )
    broken = [name for name, value in differences.items() if not torch.isfinite(value).all()]
    if broken:
        raise PriorError(f"{path} holds numbers that are not finite in {broken[0]!r}", retrain)
    values = {name: value for name, value in header.items() if name != "schema"}
    try:
        values["settings"] = MetaSettings.from_mapping(values["settings"])
        values["tasks"] = tuple(values["tasks"])
        return Initialisation(differences=differences, **values)
    except (KeyError, TypeError, AttributeError, UserError) as error:
        raise PriorError(f"the header of {path} is not sound: {error}", retrain) from error
