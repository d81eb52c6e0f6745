"""Which weights to start from: a prior's initialisation, and what a comparison said of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaft.errors import PriorError
from metaft.files import sha256_of
from metaft.prior.evidence import nearest_size, read_evidence, save_evidence
from metaft.prior.manifest import INITIALISATION, MANIFEST
from metaft.prior.prior import Prior, find_folder, newest_prior
from metaft.prior.wording import p_note

if TYPE_CHECKING:
    from metaft.backbones.backbone import Backbone

EVIDENCE = "initialisation.json"
SIGNIFICANT = 0.01
HARMLESS_POINTS = 0.3
"""How much worse the meta-learned start may be on many rows; the margin of the protocol."""

_NOT_COMPARED = "the prior's initialisation was not compared with others"
_NO_WEIGHTS = "the prior holds no meta-learned initialisation"
_COMPARE = "scripts/benchmark_init.py compares (docs/meta-learning.md)"


@dataclass(frozen=True, slots=True)
class SizeEvidence:
    """The meta-learned start against its best simple rival at one size.

    Attributes:
        train_rows: Mean number of training rows.
        rival: The best of the ways to start that need no training beforehand.
        difference: Mean accuracy of the meta-learned start less the rival's, in points.
        t_p_value, wilcoxon_p_value: Of the paired tests over datasets, after Holm's correction.
        is_harmless: Whether it was shown to be no worse than the rival by `HARMLESS_POINTS`.
    """

    train_rows: float
    rival: str
    difference: float
    t_p_value: float
    wilcoxon_p_value: float
    is_harmless: bool

    @property
    def is_gain(self) -> bool:
        """Whether the meta-learned start was better, by both tests."""
        return self.difference > 0 and max(self.t_p_value, self.wilcoxon_p_value) < SIGNIFICANT


@dataclass(frozen=True, slots=True)
class StartEvidence:
    """What a comparison said of one initialisation.

    Attributes:
        sha256: Of the file `init.safetensors` that was compared; it need not be in the folder.
        backbone: Identity of its backbone.
        algorithm: How it was learned.
        datasets: Held-out datasets that were compared on.
        sizes: What was found at each size, smallest first.
    """

    sha256: str
    backbone: str
    algorithm: str
    datasets: int
    sizes: tuple[SizeEvidence, ...]

    def save(self, folder: Path) -> None:
        """Write it into a prior's folder."""
        save_evidence(self, folder / EVIDENCE)

    @classmethod
    def read(cls, folder: Path) -> StartEvidence | None:
        """Read it from a prior's folder; None where nothing was compared.

        Raises:
            PriorError: If the file is broken or of another schema.
        """

        def build(values: dict[str, Any]) -> StartEvidence:
            sizes = tuple(SizeEvidence(**size) for size in values["sizes"])
            return cls(**{**values, "sizes": sizes})

        return read_evidence(folder / EVIDENCE, build, _COMPARE)


@dataclass(frozen=True, slots=True)
class Start:
    """Which weights a run should start from.

    Attributes:
        init: `pretrained` or `meta`, as `metaft finetune --init` takes it.
        why: In one clause.
    """

    init: str
    why: str

    def to_mapping(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dataclasses.asdict(self)


def find_initialisation(prior: str) -> Path:
    """Return the file of the initialisation that a prior's folder holds.

    Args:
        prior: A shipped prior or a folder, which need hold nothing else.

    Raises:
        PriorError: If there is no such prior, it holds none, or its files were changed.
    """
    folder = find_folder(prior)
    if (folder / MANIFEST).is_file():
        Prior.load(folder)  # Refuses weights other than those that its manifest names.
    path = folder / INITIALISATION
    if not path.is_file():
        raise PriorError(
            f"the prior {prior!r} holds no meta-learned initialisation",
            "Start from the pretrained weights, or train one with metaft meta-train --stages init",
        )
    return path


def start_meta_learned(backbone: Backbone, prior: str | None) -> None:
    """Move a backbone's weights to a prior's meta-learned initialisation, in place.

    Args:
        backbone: Pretrained.
        prior: See `find_initialisation`; None takes the newest shipped prior that knows most of
            the backbone.

    Raises:
        PriorError: If the prior has none, or one of another backbone.
    """
    from metaft.metalearning.initialisation import apply_initialisation, load_initialisation

    if prior is None:
        prior = str(newest_prior(backbone.modality, backbone.identity).folder)
    apply_initialisation(backbone, load_initialisation(find_initialisation(prior)))


def recommend_start(folder: Path, backbone: str, train_rows: int) -> Start:
    """Say which weights to start from; the meta-learned ones only where they were shown to help.

    A prior may hold the evidence without the weights: of an initialisation that was not worth
    its megabytes.

    Args:
        folder: Of the prior.
        backbone: Identity of the backbone of the run.
        train_rows: Training rows of the run.

    Raises:
        PriorError: If what the comparison left cannot be read.
    """
    has_weights = (folder / INITIALISATION).is_file()
    evidence = StartEvidence.read(folder)
    if evidence is None:
        return Start("pretrained", _NOT_COMPARED if has_weights else _NO_WEIGHTS)
    if has_weights and evidence.sha256 != sha256_of(folder / INITIALISATION):
        return Start("pretrained", "it was another initialisation that was compared")
    if evidence.backbone != backbone:
        return Start("pretrained", f"the initialisation that was compared is {evidence.backbone}'s")
    return _judge(evidence, train_rows, has_weights=has_weights)


def _judge(evidence: StartEvidence, train_rows: int, *, has_weights: bool) -> Start:
    nearest = nearest_size(evidence.sizes, train_rows)
    if nearest is None:
        far = f"nothing was compared near {train_rows:,} training rows"
        return Start("pretrained", far if has_weights else _NO_WEIGHTS)
    said = _in_words(evidence, nearest)
    if not has_weights:
        return Start("pretrained", f"{_NO_WEIGHTS}; {said}")
    return Start("meta" if nearest.is_gain else "pretrained", said)


def _in_words(evidence: StartEvidence, size: SizeEvidence) -> str:
    is_level = size.is_harmless and not size.is_gain
    harmless = f", no worse to within {HARMLESS_POINTS:g} points" if is_level else ""
    return (
        f"{evidence.algorithm} against {size.rival}, {evidence.datasets} held-out datasets, "
        f"{size.train_rows:,.0f} rows: {size.difference:+.1f} points "
        f"({p_note(max(size.t_p_value, size.wilcoxon_p_value))}){harmless}"
    )
