"""Prior: a folder of data from which suggestions are made; no code, no pickle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from metaft.errors import PriorError
from metaft.files import sha256_of, shipped_folder
from metaft.prior.manifest import MANIFEST, SCREENING, TRACES, Manifest
from metaft.tasks.task import Kind, sort_of

if TYPE_CHECKING:
    from metaft.prior.calibration import Calibration
    from metaft.prior.described import Described
    from metaft.prior.fitted import FittedPrior
    from metaft.prior.outlook import OutcomeModels
    from metaft.traces.trace import Trace


@dataclass(frozen=True)
class Prior:
    """What was learned from traces, as it lies in a folder.

    Attributes:
        folder: Holds `prior.json`, `traces.parquet`, `features.parquet`, `README.md`, and
            `init.safetensors` where an initialisation was meta-learned, `screening.parquet`
            where fields were screened.
        manifest: What `prior.json` says.
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def load(cls, name: str | Path | None = None) -> Prior:
        """Open a prior.

        Args:
            name: A shipped prior, or a folder; None takes the newest shipped one.

        Raises:
            PriorError: If it is missing, incomplete, changed, or of a newer schema.
        """
        if name is None:
            return newest_prior()
        folder = find_folder(str(name))
        prior = cls(folder, Manifest.read(folder))
        prior._check_files()
        return prior

    @property
    def name(self) -> str:
        """Return its name."""
        return str(self.manifest["name"])

    @cached_property
    def fitted(self) -> FittedPrior:
        """Return the models, from the cache or fitted anew in seconds."""
        from metaft.prior.fitted import load_or_fit

        return load_or_fit(self)

    def opinion_on(self, row: Described) -> tuple[OutcomeModels, Calibration]:
        """Return the models that go by what is known of a task, and how far they are trusted."""
        probed = self.fitted.probed_models
        if probed is not None and row.is_probed:
            return probed, self.manifest.probed_calibration_of(row.block.sort)
        return self.fitted.models, self.manifest.calibration_of(row.block.sort)

    def read_traces(self) -> list[Trace]:
        """Read the traces it was fitted to."""
        from metaft.traces.table import read_parquet

        return read_parquet(self.folder / TRACES)

    def read_screening(self) -> list[Trace]:
        """Read the traces of its screening; none where it has none."""
        from metaft.traces.table import read_parquet

        path = self.folder / SCREENING
        return read_parquet(path) if path.is_file() else []

    def _check_files(self) -> None:
        """Refuse a prior whose data are not those that its figures were computed from."""
        for name, recorded in self.manifest["files"].items():
            path = self.folder / name
            if not path.is_file():
                raise PriorError(
                    f"the prior {self.name!r} lacks its file {path}",
                    "Restore it, or fit the prior again with metaft prior fit",
                )
            if sha256_of(path) != recorded:
                raise PriorError(
                    f"{path} is not the file that the prior {self.name!r} was made from: its "
                    f"SHA-256 is not {recorded}",
                    "Restore it, or fit the prior again with metaft prior fit",
                )


def shipped_priors() -> list[Prior]:
    """Return the priors that ship with metaft, newest first."""
    folders = sorted(path.parent for path in shipped_folder("priors").glob(f"*/{MANIFEST}"))
    priors = [Prior(folder, Manifest.read(folder)) for folder in folders]
    return sorted(priors, key=lambda prior: prior.manifest["created_at"], reverse=True)


def newest_prior(
    modality: str | None = None, backbone: str | None = None, kind: Kind = "classification"
) -> Prior:
    """Return the newest shipped prior of those that know most of what is asked about.

    Traces of the same sort count for more than those of the same backbone. Where there are none,
    those of classes stand in, which are the most.

    Args:
        modality: `text` or `image`; None for any.
        backbone: Identity of a backbone that it should have traces of.
        kind: Of the task.

    Raises:
        PriorError: If none is shipped for the modality.
    """
    fitting = [p for p in shipped_priors() if modality in (None, p.manifest["modality"])]
    if not fitting:
        raise PriorError(
            f"no prior for {modality}s ships with metaft" if modality else "metaft ships no prior",
            "Name one with --prior, or make one with metaft meta-train",
        )

    def knowledge(prior: Prior) -> tuple[bool, bool, bool]:
        sorts = {sort_of(known) for known in prior.manifest.kinds}
        return sort_of(kind) in sorts, "classes" in sorts, backbone in prior.manifest.backbones

    return Prior.load(max(fitting, key=knowledge).folder)  # the first of equals, so the newest


def find_folder(name: str) -> Path:
    """Return the folder of a prior, given as a path or by a shipped one's name.

    Raises:
        PriorError: If it is neither.
    """
    if Path(name).is_dir():
        return Path(name)
    shipped = shipped_folder("priors") / name
    if name and Path(name).name == name and shipped.is_dir():
        return shipped
    raise PriorError(
        f"{name!r} is neither a folder nor a shipped prior; shipped are "
        f"{_listed([prior.name for prior in shipped_priors()])}",
        "Correct --prior, or make one with metaft meta-train",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"
