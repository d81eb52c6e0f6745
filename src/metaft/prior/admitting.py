"""Admitting: what a prior may learn from, and which folder may hold it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metaft.errors import PriorError
from metaft.files import refuse_unwritable, refuse_working_folder, shipped_folder
from metaft.prior.encoding import UNKNOWN_FIELDS, is_told_apart
from metaft.prior.fresh_runs import FRESH_RUNS
from metaft.prior.manifest import FEATURES_FILE, INITIALISATION, MANIFEST, README, SCREENING, TRACES
from metaft.prior.screening import modality_of
from metaft.prior.starting import EVIDENCE
from metaft.prior.table import Block
from metaft.tasks.select import forbidden_in_shipped_priors
from metaft.traces.outside import is_outside

if TYPE_CHECKING:
    from metaft.traces.trace import Trace

_LOGGER = logging.getLogger(__name__)


def is_shipped(folder: Path) -> bool:
    """Say whether a prior's folder is among those that ship with metaft."""
    return folder.resolve().parent == shipped_folder("priors").resolve()


def check_prior_folder(out: Path) -> None:
    """Refuse to replace a folder that holds something other than a prior.

    Raises:
        PriorError: If it does.
        UserError: If it is the working folder, or cannot be written.
    """
    refuse_working_folder(out)
    refuse_unwritable(out)
    if not out.exists():
        return
    own = {MANIFEST, TRACES, FEATURES_FILE, SCREENING, README, *kept_names()}
    foreign = [out] if out.is_file() else [path for path in out.iterdir() if path.name not in own]
    if foreign:
        raise PriorError(
            f"{out} holds {foreign[0].name}, which is no part of a prior and would be lost",
            "Give --out a folder that is new, empty or a prior",
        )


def check_tasks(tasks: Sequence[str], targets: Sequence[str], *, is_shipped: bool) -> None:
    """Refuse tasks that a prior must not learn from.

    Args:
        tasks: Names of its training tasks.
        targets: Datasets that it is to be asked for.
        is_shipped: Whether it ships with metaft.

    Raises:
        PriorError: Naming the first of them.
    """
    seen = sorted(set(tasks) & set(targets))
    if seen:
        raise PriorError(
            f"{seen[0]!r} is both a target and a training task",
            "Take it out of --targets, or out of the traces",
        )
    forbidden = [task for task in tasks if forbidden_in_shipped_priors(task)]
    if is_shipped and forbidden:
        raise PriorError(
            f"{forbidden[0]!r} is a target or shares texts with one, so a shipped prior must not "
            "learn from it",
            "Leave its traces out, or write the prior elsewhere",
        )


def check_modality(traces: Sequence[Trace]) -> None:
    """Refuse traces of texts and of images together, before hours go into a validation.

    Raises:
        PriorError: If there are both.
    """
    tasks = {modality_of(trace): trace.task for trace in traces}
    if len(tasks) > 1:
        told = " and ".join(f"{modality}s ({task})" for modality, task in sorted(tasks.items()))
        raise PriorError(
            f"the traces are of {told}; a prior knows one of the two",
            "Fit one prior to each: --backbone or --tasks picks the traces",
        )


def those_told_apart(traces: Sequence[Trace]) -> list[Trace]:
    """Leave out what studies and searches vary beyond what the models know of a recipe."""
    kept = [trace for trace in traces if is_told_apart(trace.recipe)]
    if len(kept) < len(traces):
        _LOGGER.warning(
            "%d of %d traces are left out: the models do not know what their recipes vary "
            "(%s, or schedules other than constant and linear)",
            len(traces) - len(kept),
            len(traces),
            ", ".join(UNKNOWN_FIELDS),
        )
    return kept


def outside_blocks(traces: Sequence[Trace]) -> dict[Block, Trace]:
    """Return the blocks that metaft did not record, each with one of its traces.

    Raises:
        PriorError: If a task was recorded by metaft, too.
    """
    outside: dict[Block, Trace] = {}
    own: set[str] = set()
    for trace in traces:
        if is_outside(trace.task_fingerprint):
            outside.setdefault(Block.of(trace), trace)
        else:
            own.add(trace.task)
    for block in outside:
        if block.task in own:
            raise PriorError(
                f"{block.task!r} was recorded by metaft, and imported from elsewhere with rows "
                "that metaft has not seen",
                "Give the imported task a name of its own in its mapping",
            )
    return outside


def kept_names() -> tuple[str, ...]:
    """Name what meta-training and comparing leave in a prior's folder, an unfinished one too."""
    from metaft.metalearning.checkpoint import checkpoint_beside

    checkpoint = checkpoint_beside(Path(INITIALISATION)).name
    return INITIALISATION, EVIDENCE, FRESH_RUNS, checkpoint
