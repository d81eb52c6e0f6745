"""Starts: backbones with meta-learned weights, as folders that a recording can load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metaft.errors import StudyError
from metaft.files import user_cache_folder, written_beside
from metaft.prior.manifest import INITIALISATION
from metaft.studying.ways import PRIOR

if TYPE_CHECKING:
    from metaft.backbones.backbone import Backbone
    from metaft.metalearning.initialisation import Initialisation


@dataclass(frozen=True, slots=True)
class Start:
    """A backbone to start from.

    Attributes:
        identity: As `load_backbone` takes it.
        fingerprint: Of its weights.
        tasks: What the weights were learned from.
    """

    identity: str
    fingerprint: str
    tasks: tuple[str, ...] = ()


def prepare_start(
    start: str, backbone: Backbone, *, inits: Path | None, prior: str | None, held_out: str
) -> Start:
    """Put meta-learned weights into a folder of the user's cache, unless they are there.

    Args:
        start: An algorithm of `metaft meta-train`, or `prior`.
        backbone: Pretrained; stays as it is.
        inits: Folder that holds one folder per algorithm with its `init.safetensors`.
        prior: Name or folder of the prior; None takes the newest shipped one.
        held_out: Selector of the tasks that it should not have learned from.

    Raises:
        StudyError: If there is no such initialisation; it says which command trains it.
        PriorError: If the file is broken, or is one of another backbone.
    """
    from metaft.metalearning.initialisation import load_initialisation

    path = _find(start, backbone, inits, prior)
    if isinstance(path, _Missing):
        raise path.error(backbone, held_out)
    return _moved(backbone, load_initialisation(path))


@dataclass(frozen=True, slots=True)
class _Missing:
    """An initialisation that is not there, and how to get one.

    Attributes:
        told: What is not there.
        algorithm: What trains it.
        out: Folder for it.
        option: Which option then names it.
    """

    told: str
    algorithm: str
    out: str
    option: str

    def error(self, backbone: Backbone, held_out: str) -> StudyError:
        command = (
            f"metaft meta-train --tasks all --stages init --algorithm {self.algorithm} "
            f"--backbone {backbone.identity} --held-out '{held_out}' --out {self.out}"
        )
        return StudyError(self.told, f"Train one with `{command}`, and name it with {self.option}")


def _find(start: str, backbone: Backbone, inits: Path | None, prior: str | None) -> Path | _Missing:
    from metaft.prior.prior import Prior, newest_prior

    if start != PRIOR:
        path = (inits or Path("inits")) / start / INITIALISATION
        if inits and path.is_file():
            return path
        told = f"there is no {path}" if inits else "--inits names no folder of initialisations"
        return _Missing(told, start, str(path.parent), f"--inits {path.parents[1]}")
    found = Prior.load(prior) if prior else newest_prior(backbone.modality, backbone.identity)
    path = found.folder / INITIALISATION
    if path.is_file():
        return path
    told = f"the prior {found.name!r} holds no meta-learned initialisation"
    return _Missing(told, "reptile", "my-prior", "--prior my-prior")


def _moved(backbone: Backbone, initialisation: Initialisation) -> Start:
    """Return the pretrained backbone with the learned weights, written once per initialisation."""
    from metaft.backbones.load import load_backbone
    from metaft.metalearning.initialisation import apply_initialisation

    folder = user_cache_folder() / "starts" / initialisation.fingerprint
    if not folder.is_dir():
        fresh = load_backbone(backbone.identity, offline=True)
        apply_initialisation(fresh, initialisation)
        with written_beside(folder) as beside:
            beside.mkdir(parents=True)
            fresh.save_encoder(beside)
    loaded = load_backbone(str(folder))
    return Start(str(folder), loaded.fingerprint, initialisation.tasks)


def pretrained(backbone: Backbone) -> Start:
    """Return the start from the pretrained weights."""
    return Start(backbone.identity, backbone.fingerprint)


def is_learned_from(start: Start, task: str, relatives: frozenset[str]) -> bool:
    """Say whether a start has learned from a task or a relative of it."""
    return bool({task, *relatives} & {*start.tasks})
