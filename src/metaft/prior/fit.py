"""fit_prior: from traces to a prior in a folder, validated."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaft.errors import PriorError
from metaft.files import (
    refuse_unwritable,
    refuse_working_folder,
    sha256_of,
    shipped_folder,
    written_beside,
)
from metaft.prior.described import (
    Described,
    describe_blocks,
    feature_names,
    frame_from_described,
)
from metaft.prior.describing import describe_all, describe_outside, target_blocks
from metaft.prior.encoding import UNKNOWN_FIELDS, is_told_apart
from metaft.prior.fresh_runs import FRESH_RUNS
from metaft.prior.leaving_out import OnFit, calibration_figures
from metaft.prior.machines import Machine
from metaft.prior.manifest import (
    FEATURES_FILE,
    INITIALISATION,
    MANIFEST,
    PRIOR_SCHEMA,
    README,
    SCREENING,
    TRACES,
    Manifest,
)
from metaft.prior.prior import Prior
from metaft.prior.probing import count_fits_of_check, judge_probe
from metaft.prior.readme import render_readme
from metaft.prior.scores import ScoreModel
from metaft.prior.screening import Pair, find_pairs, modality_of, screen, traces_of
from metaft.prior.space import Space
from metaft.prior.starting import EVIDENCE
from metaft.prior.table import Block, TraceTable, tabulate
from metaft.prior.validate import validate
from metaft.tasks.card import relatives_of
from metaft.tasks.select import forbidden_in_shipped_priors
from metaft.traces.outside import is_outside

if TYPE_CHECKING:
    from metaft.traces.trace import Trace

_LOGGER = logging.getLogger(__name__)

OnStep = Callable[[str, int, int], None]
"""Called with what is being done, the steps done, and the steps in all."""


def fit_prior(
    traces: Sequence[Trace],
    out: Path,
    *,
    targets: Sequence[str] = (),
    version: str = "0.1.0",
    probe: bool = False,
    screening: Sequence[Trace] | None = None,
    offline: bool = False,
    on_step: OnStep | None = None,
) -> Prior:
    """Fit a prior to traces, validate it, and write it to a folder.

    An `init.safetensors` that is in the folder already is kept, and so are what comparing it
    showed, what fresh runs of an earlier version showed, the checkpoint of an unfinished
    meta-training, and screening traces where no others are given.

    Args:
        traces: Runs on tasks that `load_task` still finds, or that metaft did not make. Those
            whose recipes vary what the models do not know are left out, which is logged.
        out: Folder to write; its name becomes the prior's. One that exists must hold a prior
            or an initialisation, or be empty.
        targets: Datasets whose features are shipped beside those of the training tasks, so
            that they can be asked for without their data.
        version: Of the prior.
        probe: Take trial steps on every task, so that the prior can be asked with a probe.
        screening: Runs that differ from a base recipe in one of the fields that no model
            varies, see `metaft.prior.screening`; others among them count for nothing. None
            takes those that the folder holds. The models are not fitted to them.
        offline: Never ask the hub for tasks and backbones.
        on_step: Tells how far it is.

    Raises:
        PriorError: If the traces are too few, of both modalities, or of tasks that must not
            be in a prior; the screening traces tell nothing; or the folder holds something
            else.
        TaskError, BackboneError: If a task or backbone cannot be loaded.
    """
    from metaft.traces.table import read_parquet

    check_prior_folder(out)
    _check_modality(traces)
    if screening is None and (out / SCREENING).is_file():
        screening = read_parquet(out / SCREENING)
    pairs = (
        find_pairs(screening, modality_of(traces[0])) if traces and screening is not None else []
    )
    varied = {pair.varied.trace_id for pair in pairs}
    traces = _those_told_apart([trace for trace in traces if trace.trace_id not in varied])
    table = tabulate(traces)
    tasks = sorted({*table.tasks, *(pair.base.task for pair in pairs)})
    check_tasks(tasks, targets, is_shipped=is_shipped(out))
    outside = _outside_blocks(traces)
    if probe and outside:
        raise PriorError(
            f"{min(outside).task!r} was not recorded by metaft, so it cannot be probed",
            "Fit without --probe, or leave its traces out",
        )
    own = [block for block in table.blocks if block not in outside]
    blocks = [*own, *target_blocks(targets, own)]
    steps = _Steps(on_step, "describing tasks", len(blocks))
    described = describe_all(
        blocks,
        fingerprints={trace.task: trace.task_fingerprint for trace in traces},
        with_trial=probe,
        offline=offline,
        on_described=lambda _: steps.advance(),
    )
    described += [describe_outside(outside[block]) for block in table.blocks if block in outside]
    relatives = {task: relatives_of(task) for task in table.tasks}
    return write_prior(
        traces,
        described,
        out,
        relatives=relatives,
        targets=targets,
        version=version,
        pairs=pairs,
        on_step=on_step,
    )


def write_prior(
    traces: Sequence[Trace],
    described: Sequence[Described],
    out: Path,
    *,
    relatives: dict[str, frozenset[str]],
    targets: Sequence[str] = (),
    version: str = "0.1.0",
    pairs: Sequence[Pair] = (),
    on_step: OnStep | None = None,
) -> Prior:
    """Validate and write a prior whose features are known already; see `fit_prior`.

    Args:
        traces: What to fit to; those of blocks that lack recipes are left out.
        described: Features of every traced block, and of the targets.
        out: Folder to write.
        relatives: Training task -> its relatives.
        targets: Names of those datasets among the described that are no training tasks.
        version: Of the prior.
        pairs: Screening runs beside their base; none where nothing was screened.
        on_step: Tells how far it is.
    """
    from metaft.traces.table import write_parquet

    _check_modality(traces)
    table = tabulate(traces)
    blocks = set(table.blocks)
    kept = [trace for trace in traces if Block.of(trace) in blocks]
    with written_beside(out) as folder:
        folder.mkdir(parents=True)
        write_parquet(kept, folder / TRACES)
        screened = {}
        if pairs:
            write_parquet(traces_of(pairs), folder / SCREENING)
            screened["screening"] = screen(pairs).to_mapping()
        frame_from_described(described).to_parquet(folder / FEATURES_FILE, index=False)
        for name in _kept_names():
            if (out / name).is_file():
                shutil.copy2(out / name, folder / name)
        rows = describe_blocks(table.blocks, described)
        is_probed = any(row.is_probed for row in rows)
        fits = count_fits_of_check(table, relatives, is_probed=is_probed)
        steps = _Steps(on_step, "leaving tasks out", fits)
        figures = judge_prior(table, rows, relatives, on_fit=steps.advance)
        facts = _facts_of(kept, table, relatives, targets)
        manifest = Manifest(
            {
                "schema": PRIOR_SCHEMA,
                "name": out.resolve().name,
                "version": version,
                **facts,
                "features": list(feature_names(rows)),
                "files": _hashes(folder),
                **figures,
                **screened,
            }
        )
        manifest.write(folder)
        (folder / README).write_text(render_readme(Manifest.read(folder)), encoding="utf-8")
    return Prior.load(out)


def judge_prior(
    table: TraceTable,
    rows: Sequence[Described],
    relatives: Mapping[str, frozenset[str]],
    *,
    on_fit: OnFit | None = None,
) -> dict[str, Any]:
    """Return what a prior says of its own worth, and what its models take over from that.

    Args:
        table: The traces.
        rows: Descriptions of its blocks, in the same order.
        relatives: Task -> its relatives.
        on_fit: Called after every fit.
    """
    plain_rows = [row.without_trial() for row in rows]
    figures, left_out = validate(table, plain_rows, relatives, on_fit=on_fit)
    elsewhere = figures["transfer"]["relative_width"]
    judged = {
        **calibration_figures(table, left_out, width_elsewhere=elsewhere),
        "tunings": dataclasses.asdict(ScoreModel.fit(table, plain_rows).tunings),
        "validation": figures,
    }
    if any(row.is_probed for row in rows):
        judged["probe"] = judge_probe(table, rows, relatives, on_fit=on_fit)
    return judged


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
    own = {MANIFEST, TRACES, FEATURES_FILE, SCREENING, README, *_kept_names()}
    foreign = [out] if out.is_file() else [path for path in out.iterdir() if path.name not in own]
    if foreign:
        raise PriorError(
            f"{out} holds {foreign[0].name}, which is no part of a prior and would be lost",
            "Give --out a folder that is new, empty or a prior",
        )


def _check_modality(traces: Sequence[Trace]) -> None:
    """Refuse traces of texts and of images together, before hours go into a validation."""
    tasks = {modality_of(trace): trace.task for trace in traces}
    if len(tasks) > 1:
        told = " and ".join(f"{modality}s ({task})" for modality, task in sorted(tasks.items()))
        raise PriorError(
            f"the traces are of {told}; a prior knows one of the two",
            "Fit one prior to each: --backbone or --tasks picks the traces",
        )


def _outside_blocks(traces: Sequence[Trace]) -> dict[Block, Trace]:
    """Return the blocks that metaft did not record, each with one of its traces."""
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


def _kept_names() -> tuple[str, ...]:
    """Name what meta-training and comparing leave in a prior's folder, an unfinished one too."""
    from metaft.metalearning.checkpoint import checkpoint_beside

    checkpoint = checkpoint_beside(Path(INITIALISATION)).name
    return INITIALISATION, EVIDENCE, FRESH_RUNS, checkpoint


def _those_told_apart(traces: Sequence[Trace]) -> list[Trace]:
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


def _facts_of(
    traces: Sequence[Trace],
    table: TraceTable,
    relatives: dict[str, frozenset[str]],
    targets: Sequence[str],
) -> dict[str, Any]:
    fingerprints = {trace.backbone: trace.backbone_fingerprint for trace in traces}
    newest = max(traces, key=lambda trace: trace.created_at)
    of_task: dict[str, list[Trace]] = defaultdict(list)
    for trace in traces:
        of_task[trace.task].append(trace)
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "metaft_version": version_of("metaft"),
        "modality": modality_of(newest),
        "backbones": [{"identity": i, "fingerprint": f} for i, f in sorted(fingerprints.items())],
        "train_rows": sorted({block.train_rows for block in table.blocks}),
        "space": _describe_space(table.space),
        "metrics": sorted({trace.metric for trace in traces}),
        "tasks": [_describe_task(task, of_task[task], relatives) for task in table.tasks],
        "targets": sorted(targets),
        "traces": len(traces),
        "left_out": [dataclasses.asdict(block) for block in table.left_out],
        "machine": dataclasses.asdict(Machine.commonest(traces)),
    }


def _describe_task(
    task: str, own: Sequence[Trace], relatives: dict[str, frozenset[str]]
) -> dict[str, Any]:
    return {
        "name": task,
        "fingerprint": own[0].task_fingerprint,
        "kind": own[0].kind,
        "metric": own[0].metric,
        "relatives": sorted(relatives.get(task, ())),
        "traces": len(own),
    }


def _describe_space(space: Space) -> dict[str, Any]:
    """Return the values that each field of a recipe takes."""
    fields = [cell.to_mapping() for cell in space.cells]
    varied = {name: list(dict.fromkeys(f[name] for f in fields)) for name in fields[0]}
    derived = ("warmup_fraction", "seed")  # set by the budget and by the run
    return {
        "recipes": len(set(space.families.tolist())),
        "cells": len(space),
        "fields": {
            name: sorted(v) for name, v in varied.items() if len(v) > 1 and name not in derived
        },
    }


def _hashes(folder: Path) -> dict[str, str]:
    names = (TRACES, FEATURES_FILE, INITIALISATION, SCREENING)
    return {name: sha256_of(folder / name) for name in names if (folder / name).is_file()}


class _Steps:
    """Counts steps for whoever wants to know."""

    def __init__(self, on_step: OnStep | None, what: str, total: int) -> None:
        self._on_step, self._what, self._total = on_step, what, total
        self._done = 0

    def advance(self) -> None:
        """Count one step."""
        self._done += 1
        if self._on_step:
            self._on_step(self._what, self._done, self._total)
