"""FittedPrior: the models of a prior, refitted from its files and cached under their hash."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaft.errors import PriorError
from metaft.files import user_cache_folder, written_beside
from metaft.prior.described import Described, describe_blocks, described_from_frame
from metaft.prior.manifest import FEATURES_FILE
from metaft.prior.outlook import OutcomeModels
from metaft.prior.scores import Tunings
from metaft.prior.table import tabulate
from metaft.recipes import FIELDS

if TYPE_CHECKING:
    from metaft.prior.prior import Prior

_LOGGER = logging.getLogger(__name__)
_OTHERS_MAY_WRITE = 0o022


@dataclass(frozen=True, eq=False)
class FittedPrior:
    """The models of a prior.

    Attributes:
        key: Hash of what it was fitted from.
        models: Fitted to all training blocks.
        probed_models: The same with what trial steps told; None where none were taken.
        described: Features of the training tasks and of the target datasets.
    """

    key: str
    models: OutcomeModels
    probed_models: OutcomeModels | None
    described: tuple[Described, ...]


def load_or_fit(prior: Prior) -> FittedPrior:
    """Return the fitted models: from the cache where they are, else from the files.

    The cache is this user's own and never part of a prior. A file there that cannot be read,
    or was put there by somebody else, counts for nothing and is written anew.

    Raises:
        PriorError: If the files of the prior cannot be read.
    """
    key = _key_of(prior)
    path = user_cache_folder() / "priors" / f"{key}.joblib"
    fitted = _load(path, key) or _fit(prior, key)
    if not path.is_file() or not _is_own(path):
        _save(fitted, path)
    return fitted


def read_described(folder: Path) -> list[Described]:
    """Read the features that a prior ships.

    Raises:
        PriorError: If they cannot be read.
    """
    import pandas

    path = folder / FEATURES_FILE
    try:
        return described_from_frame(pandas.read_parquet(path))
    except (OSError, ValueError) as error:
        raise PriorError(
            f"the features in {path} cannot be read: {error}",
            "Fit the prior again with metaft prior fit",
        ) from error


def _key_of(prior: Prior) -> str:
    """Hash what the fit depends on: files, code, the fields of a recipe, and the libraries."""
    from importlib.metadata import version

    facts: list[Any] = [_code_hash(), FIELDS, version("scikit-learn"), version("numpy")]
    facts += [sorted(prior.manifest["files"].items()), list(prior.manifest["features"])]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _code_hash() -> str:
    """Hash this room's code, so that models are never read by other code than wrote them."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _fit(prior: Prior, key: str) -> FittedPrior:
    described = read_described(prior.folder)
    table = tabulate(prior.read_traces())
    rows = describe_blocks(table.blocks, described)
    probed = any(row.is_probed for row in rows)
    tunings = Tunings.from_mapping(prior.manifest["tunings"])  # to find them takes a second
    return FittedPrior(
        key,
        OutcomeModels.fit(table, [row.without_trial() for row in rows], tunings),
        OutcomeModels.fit(table, rows) if probed else None,
        tuple(described),
    )


def _load(path: Path, key: str) -> FittedPrior | None:
    """Read a cached fit; None where there is none that can be trusted and read."""
    if not path.is_file() or not _is_own(path):
        return None
    import joblib

    try:
        fitted: Any = joblib.load(path)
    except Exception as error:  # noqa: BLE001  A broken file may raise whatever it likes.
        _LOGGER.info("the cached models in %s cannot be read (%s); fitting anew", path, error)
        path.unlink(missing_ok=True)
        return None
    if isinstance(fitted, FittedPrior) and fitted.key == key:
        return fitted
    path.unlink(missing_ok=True)
    return None


def _is_own(path: Path) -> bool:
    """Say whether only this user can have written a file: reading it may run its code."""
    if not hasattr(os, "getuid"):
        return True
    facts = [path.stat(), path.parent.stat()]
    return all(f.st_uid == os.getuid() and not f.st_mode & _OTHERS_MAY_WRITE for f in facts)


def _save(fitted: FittedPrior, path: Path) -> None:
    """Write a fit to the cache; a cache that cannot be written costs seconds, not the answer."""
    import joblib

    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.chmod(0o700)
        with written_beside(path) as beside:
            joblib.dump(fitted, beside, compress=3)
            beside.chmod(0o600)
    except OSError as error:
        _LOGGER.info("the models cannot be cached in %s: %s", path, error)
