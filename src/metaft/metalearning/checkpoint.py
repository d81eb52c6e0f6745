"""Checkpoints of a meta-training: one safetensors file, so that a kill cannot tear it apart."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from metaft.errors import PriorError
from metaft.files import written_beside

_HEADER = "metaft_checkpoint"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a meta-training has come.

    Attributes:
        step: Outer steps taken.
        train_seconds: Wall time of these steps, over all sessions.
        cpu_seconds: Of this process, over the same steps.
        peak_memory_mib: Highest memory so far, MiB.
    """

    step: int = 0
    train_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mib: float = 0.0


def checkpoint_beside(initialisation: Path) -> Path:
    """Return where the checkpoint of a meta-training lies until its last step is taken."""
    return initialisation.with_name(f"{initialisation.stem}.checkpoint.safetensors")


def save_checkpoint(
    path: Path,
    *,
    run: Mapping[str, Any],
    progress: Progress,
    learned: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write what is needed to go on, whole or not at all.

    Random numbers need no saving: episodes are found by their number.

    Args:
        path: File to write or replace.
        run: What this training is, as plain values: only the same one may go on from here.
        progress: How far it has come.
        learned: Name -> parameter, in the optimiser's order.
        optimizer: Its state is kept in full precision.
    """
    tensors = {f"learned/{name}": value.detach().cpu() for name, value in learned.items()}
    for name, state in zip(learned, _states(optimizer), strict=True):
        for key, value in state.items():
            tensors[f"optimizer/{key}/{name}"] = torch.as_tensor(value).detach().cpu()
    header = {"run": dict(run), "progress": dataclasses.asdict(progress)}
    with written_beside(path) as beside:
        save_file(
            {name: value.contiguous() for name, value in tensors.items()},
            beside,
            metadata={_HEADER: json.dumps(header, sort_keys=True)},
        )


def restore_checkpoint(
    path: Path,
    *,
    run: Mapping[str, Any],
    learned: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> Progress:
    """Put parameters and optimiser back to where a checkpoint was written.

    Returns:
        How far it had come; no progress where there is no file.

    Raises:
        PriorError: If the file is broken, or of another training.
    """
    if not path.exists():
        return Progress()
    header, tensors = _read(path)
    if header["run"] != json.loads(json.dumps(dict(run))):
        raise PriorError(
            f"the checkpoint {path} is of another meta-training: "
            f"{_first_difference(header['run'], run)}",
            "Delete it to start anew, or repeat the training that wrote it",
        )
    with torch.no_grad():
        for name, parameter in learned.items():
            parameter.copy_(tensors[f"learned/{name}"])
    _restore_optimizer(optimizer, list(learned), tensors)
    return Progress(**header["progress"])


def _states(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return the optimiser's state of each parameter, in order; empty before its first step."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return [optimizer.state.get(parameter, {}) for parameter in parameters]


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, names: list[str], tensors: Mapping[str, Tensor]
) -> None:
    whole = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for full_name, value in tensors.items():
        kind, _, rest = full_name.partition("/")
        if kind == "optimizer":
            key, _, name = rest.partition("/")
            state.setdefault(names.index(name), {})[key] = value
    whole["state"] = state
    optimizer.load_state_dict(whole)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise PriorError(
            f"the checkpoint {path} cannot be read: {error}", "Delete it to start anew"
        ) from error


def _first_difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    name = next((name for name in wanted if found.get(name) != wanted[name]), "its fields")
    return f"{name} is {found.get(name)!r} there and {wanted.get(name)!r} here"
