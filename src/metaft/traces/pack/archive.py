"""Opening a pack: one zip file, checked before anything in it is used.

What is imported at the top is light: whoever only looks at a pack needs no torch.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from metaft.errors import PackError
from metaft.traces.pack.manifest import BACKBONE_FILE, MANIFEST_FILE, Manifest
from metaft.traces.trace import trace_id_of

if TYPE_CHECKING:
    import numpy as np

    from metaft.backbones.backbone import Backbone

_PACK_AGAIN = "Copy it again, or pack anew"


class Pack:
    """A pack on disk.

    Args:
        path: The file.

    Raises:
        PackError: If it is no pack, or one of another schema.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
            self.manifest = Manifest.from_json(self._zip.read(MANIFEST_FILE))
        except (OSError, zipfile.BadZipFile, zlib.error, KeyError) as error:
            raise PackError(f"{path} is no readable pack: {error}", _PACK_AGAIN) from error

    def check(self) -> None:
        """Compare every file with its checksum, and every run with its key.

        Raises:
            PackError: Naming what does not agree.
        """
        members = set(self._zip.namelist()) - {MANIFEST_FILE}
        for name in sorted(members ^ set(self.manifest.sha256)):
            where = "which its manifest does not name" if name in members else "which is missing"
            raise PackError(f"the pack {self.path} holds {name}, {where}", _PACK_AGAIN)
        for name, expected in self.manifest.sha256.items():
            if hashlib.sha256(self._read(name)).hexdigest() != expected:
                raise PackError(
                    f"{name} in the pack {self.path} does not have its SHA-256 {expected}",
                    _PACK_AGAIN,
                )
        self._check_keys()

    def arrays(self, file: str) -> dict[str, np.ndarray]:
        """Read the rows of a task."""
        from safetensors.numpy import load

        return load(self._read(file))

    def backbone(self) -> Backbone:
        """Build the backbone; it goes by the fingerprint of the weights before rounding.

        Raises:
            PackError: If it is not the one that was packed.
        """
        from safetensors.torch import load

        from metaft.backbones.load import rebuild_backbone

        packed = self.manifest.backbone
        weights = load(self._read(BACKBONE_FILE))
        built = rebuild_backbone(
            packed.modality, packed.blueprint, weights, identity=packed.identity
        )
        if built.fingerprint != packed.packed_fingerprint:
            raise PackError(
                f"the backbone {packed.identity} comes out of the pack as {built.fingerprint}, "
                f"not {packed.packed_fingerprint}: the libraries here build it in another way",
                "Install the versions of transformers (or timm) that it was packed with",
            )
        built.fingerprint = packed.fingerprint
        return built

    def _read(self, name: str) -> bytes:
        try:
            return self._zip.read(name)
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise PackError(
                f"{name} in the pack {self.path} cannot be read: {error}", _PACK_AGAIN
            ) from error

    def _check_keys(self) -> None:
        """See that this version of metaft gives every run the key that it was packed under."""
        manifest = self.manifest
        for key, run in manifest.runs.items():
            fingerprint = manifest.tasks[run.task].fingerprint
            ids = (fingerprint, manifest.backbone.fingerprint, run.recipe, run.train_rows, run.seed)
            if trace_id_of(*ids) != key:
                raise PackError(
                    f"the run {key} on {run.task} has another key in this version of metaft than "
                    f"in {manifest.metaft_version}, which packed it",
                    "Run it by the program that it holds (python PACK), or pack anew",
                )
