"""check_prior: does what a prior says of itself still hold?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metaft.prior.admitting import is_shipped
from metaft.prior.described import describe_blocks
from metaft.prior.fit import judge_prior
from metaft.prior.fitted import read_described
from metaft.prior.leaving_out import OnFit
from metaft.prior.manifest import SCREENING, finite
from metaft.prior.prior import Prior
from metaft.prior.screening import find_pairs, screen
from metaft.prior.table import tabulate
from metaft.tasks.select import forbidden_in_shipped_priors

TOLERANCE = 0.01
"""Figures may differ by this much, and by this share of themselves: other versions of the
libraries round differently."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A figure of `prior.json` that does not hold.

    Attributes:
        figure: Its path, such as `validation.methods.learned.points`.
        stored: What `prior.json` says.
        found: What the stored traces and features give.
    """

    figure: str
    stored: Any
    found: Any


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Attributes:
        discrepancies: What does not hold; empty where everything does.
        validation: The figures as they are found now.
    """

    discrepancies: tuple[Discrepancy, ...]
    validation: Mapping[str, Any]


def check_prior(prior: Prior, *, on_fit: OnFit | None = None) -> Checked:
    """Repeat the validation of a prior from its files.

    Args:
        prior: Loaded, so its files are those that it names.
        on_fit: Called after every fit.
    """
    manifest = prior.manifest
    table = tabulate(prior.read_traces())
    rows = describe_blocks(table.blocks, read_described(prior.folder))
    figured = judge_prior(table, rows, manifest.relatives, on_fit=on_fit)
    if manifest.values.get("screening") or SCREENING in manifest["files"]:
        pairs = find_pairs(prior.read_screening(), manifest["modality"])
        figured["screening"] = screen(pairs).to_mapping()
    found = finite(figured)
    stored = {name: manifest.values.get(name) for name in found}
    discrepancies = (*_differences(stored, found, ""), *_forbidden(prior))
    return Checked(discrepancies, found["validation"])


def _forbidden(prior: Prior) -> Iterator[Discrepancy]:
    """Yield training tasks that a shipped prior must not have."""
    if not is_shipped(prior.folder):
        return
    screened = (prior.manifest.values.get("screening") or {"tasks": {}})["tasks"]
    trained = [task["name"] for task in prior.manifest["tasks"]]
    for name in dict.fromkeys([*trained, *screened]):
        if forbidden_in_shipped_priors(name):
            yield Discrepancy(f"tasks.{name}", "training task", "target, or shares texts")


def _differences(stored: Any, found: Any, path: str) -> Iterator[Discrepancy]:
    if isinstance(stored, Mapping) and isinstance(found, Mapping):
        for name in dict.fromkeys([*stored, *found]):
            inner = f"{path}.{name}" if path else str(name)
            yield from _differences(stored.get(name), found.get(name), inner)
    elif _are_lists(stored, found) and len(stored) == len(found):
        for at, (one, other) in enumerate(zip(stored, found, strict=True)):
            yield from _differences(one, other, f"{path}[{at}]")
    elif not _agree(stored, found):
        yield Discrepancy(path, stored, found)


def _are_lists(*values: Any) -> bool:
    return all(isinstance(value, Sequence) and not isinstance(value, str) for value in values)


def _agree(stored: Any, found: Any) -> bool:
    if isinstance(stored, int | float) and isinstance(found, int | float):
        return abs(stored - found) <= TOLERANCE * (1.0 + abs(found))
    return bool(stored == found)
