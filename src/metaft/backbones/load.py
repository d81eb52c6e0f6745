"""Loading a backbone by its name: a local folder, a registry package, or the hub."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaft.backbones.weights import PACKAGED, find_packaged
from metaft.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor

    from metaft.backbones.backbone import Backbone
    from metaft.tasks.task import Modality

DEFAULT_TEXT_BACKBONE = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_IMAGE_BACKBONE = "timm/mobilenetv2_100.tv_in1k"
"""Both are what the shipped priors know, so what is suggested is for what is run."""

ALIASES: dict[str, str] = {
    "minilm": DEFAULT_TEXT_BACKBONE,
    "efficientnet_lite0": "timm/tf_efficientnet_lite0.in1k",
    "mobilenetv2": DEFAULT_IMAGE_BACKBONE,
}
_HUB_SETTINGS = "HF_ENDPOINT (a mirror of the hub) or HTTPS_PROXY"
_IMAGE_HUB_FILES = ["config.json", "model.safetensors"]


def default_backbone(modality: Modality) -> str:
    """Return the identity of the backbone used where none is named."""
    return DEFAULT_IMAGE_BACKBONE if modality == "image" else DEFAULT_TEXT_BACKBONE


def load_backbone(identity: str = DEFAULT_TEXT_BACKBONE, *, offline: bool = False) -> Backbone:
    """Load a fresh copy of a pretrained backbone.

    It is looked for as a local folder, then in the folder of models that METAFT_MODELS names
    (as `owner/name` or `name`), then in an installed weight package, then on the hub.

    Args:
        identity: A folder that transformers or timm saved, a hub id (`owner/name`; images are
            `timm/name`), or a short name: `minilm`, `efficientnet_lite0`, `mobilenetv2`.
        offline: Never ask the hub; what it gave before is still used. `HF_HUB_OFFLINE=1`
            says the same.

    Raises:
        BackboneError: If it cannot be found, reached or used.
    """
    identity = ALIASES.get(identity, identity)
    if Path(identity).expanduser().is_dir():
        return _load_folder(Path(identity).expanduser(), identity, "folder")
    kept = _find_kept(identity)
    if kept is not None:
        return _load_folder(kept, identity, "folder")
    weights_file = find_packaged(identity)
    if weights_file is not None:
        return _load_packaged(weights_file, identity)
    return _load_from_hub(identity, offline=offline or _hub_is_switched_off())


def _find_kept(identity: str) -> Path | None:
    """Return the folder of a model among those that METAFT_MODELS names, or None."""
    models = os.environ.get("METAFT_MODELS")
    if not models:
        return None
    folder = Path(models).expanduser()
    places = (folder / identity, folder / identity.rpartition("/")[2])
    return next((place for place in places if (place / "config.json").is_file()), None)


def rebuild_backbone(
    modality: Modality,
    blueprint: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    *,
    identity: str,
) -> Backbone:
    """Build a backbone from its blueprint and weights, without asking for files or the hub.

    Args:
        modality: `text` or `image`.
        blueprint: From `Backbone.blueprint`.
        weights: From `Backbone.weights`, in whatever precision.
        identity: What the backbone is called.
    """
    if modality == "image":
        from metaft.backbones.image import ImageBackbone

        return ImageBackbone.from_blueprint(blueprint, weights, identity=identity)
    from metaft.backbones.text import TextBackbone

    return TextBackbone.from_blueprint(blueprint, weights, identity=identity)


def _load_folder(folder: Path, identity: str, source: str) -> Backbone:
    if _modality_of(folder) == "image":
        from metaft.backbones.image import ImageBackbone

        return ImageBackbone.from_folder(folder, identity, source)
    from metaft.backbones.text import TextBackbone

    return TextBackbone.from_folder(folder, identity, source)


def _modality_of(folder: Path) -> Modality:
    """Tell a timm folder from a transformers one by its config.json."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"the folder {folder} holds no readable config.json, so it is no saved model: {error}",
            "Give a folder written by save_pretrained, or one that timm saved",
        ) from error
    if isinstance(config, dict) and "architecture" in config:
        return "image"
    if isinstance(config, dict) and "model_type" in config:
        return "text"
    raise BackboneError(
        f"{folder / 'config.json'} names neither a `model_type` (transformers) nor an "
        "`architecture` (timm)",
        "Give a folder written by save_pretrained, or one that timm saved",
    )


def _load_packaged(weights_file: Path, identity: str) -> Backbone:
    if PACKAGED[identity].modality == "image":
        from metaft.backbones.image import ImageBackbone

        return ImageBackbone.from_packaged(weights_file, identity)
    return _load_folder(weights_file.parent, identity, "package")


def _load_from_hub(identity: str, *, offline: bool) -> Backbone:
    if offline or identity.startswith("timm/"):
        return _load_folder(_hub_folder(identity, offline=offline), identity, "hub")
    from metaft.backbones.text import TextBackbone

    try:
        return TextBackbone.from_hub(identity)
    except BackboneError as error:
        raise _not_found(identity, offline, error) from error


def _hub_folder(identity: str, *, offline: bool) -> Path:
    """Return the hub's copy of a model in the user's cache, fetched where that is allowed."""
    from huggingface_hub import snapshot_download

    wanted = _IMAGE_HUB_FILES if identity.startswith("timm/") else None
    try:
        return Path(snapshot_download(identity, allow_patterns=wanted, local_files_only=offline))
    except (
        OSError,
        ValueError,
    ) as error:  # Also a malformed name, and every failed request.
        raise _not_found(identity, offline, error) from error


def _hub_is_switched_off() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _not_found(identity: str, offline: bool, error: Exception) -> BackboneError:
    """Say why a backbone could not be had, and what to do."""
    if offline:
        problem = (
            f"the backbone {identity!r} is no folder, in no installed weight package and not in "
            "the hub's cache, and the hub may not be asked (--offline or HF_HUB_OFFLINE)"
        )
        otherwise = "leave out --offline and unset HF_HUB_OFFLINE"
    else:
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        problem = f"the backbone {identity!r} could not be had from the hub: {reason}"
        otherwise = (
            f"check the name (allowed are a folder, owner/name, {', '.join(ALIASES)}); "
            f"where the hub cannot be reached directly, set {_HUB_SETTINGS}"
        )
    if identity in PACKAGED:
        return BackboneError(problem, f"Run {PACKAGED[identity].install}, or {otherwise}")
    return BackboneError(problem, otherwise[0].upper() + otherwise[1:])
