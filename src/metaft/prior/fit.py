"""fit_prior: from traces to a prior in a folder, validated."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaft.errors import PriorError
from metaft.files import sha256_of, written_beside
from metaft.prior.admitting import (
    check_modality,
    check_prior_folder,
    check_tasks,
    is_shipped,
    kept_names,
    outside_blocks,
    those_told_apart,
)
from metaft.prior.described import (
    Described,
    describe_blocks,
    feature_names,
    frame_from_described,
)
from metaft.prior.describing import describe_all, describe_outside, target_blocks
from metaft.prior.facts import facts_of
from metaft.prior.leaving_out import OnFit, calibration_figures
from metaft.prior.manifest import (
    FEATURES_FILE,
    INITIALISATION,
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
from metaft.prior.table import Block, TraceTable, tabulate
from metaft.prior.validate import validate
from metaft.tasks.card import relatives_of

if TYPE_CHECKING:
    from metaft.traces.trace import Trace

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
    check_modality(traces)
    if screening is None and (out / SCREENING).is_file():
        screening = read_parquet(out / SCREENING)
    pairs = (
        find_pairs(screening, modality_of(traces[0])) if traces and screening is not None else []
    )
    varied = {pair.varied.trace_id for pair in pairs}
    traces = those_told_apart([trace for trace in traces if trace.trace_id not in varied])
    table = tabulate(traces)
    tasks = sorted({*table.tasks, *(pair.base.task for pair in pairs)})
    check_tasks(tasks, targets, is_shipped=is_shipped(out))
    described = _describe(
        traces, table.blocks, targets, probe=probe, offline=offline, on_step=on_step
    )
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


def _describe(
    traces: Sequence[Trace],
    traced: Sequence[Block],
    targets: Sequence[str],
    *,
    probe: bool,
    offline: bool,
    on_step: OnStep | None,
) -> list[Described]:
    """Return the features of every traced block, and of the targets."""
    outside = outside_blocks(traces)
    if probe and outside:
        raise PriorError(
            f"{min(outside).task!r} was not recorded by metaft, so it cannot be probed",
            "Fit without --probe, or leave its traces out",
        )
    own = [block for block in traced if block not in outside]
    blocks = [*own, *target_blocks(targets, own)]
    steps = _Steps(on_step, "describing tasks", len(blocks))
    described = describe_all(
        blocks,
        fingerprints={trace.task: trace.task_fingerprint for trace in traces},
        with_trial=probe,
        offline=offline,
        on_described=lambda _: steps.advance(),
    )
    return described + [describe_outside(outside[block]) for block in traced if block in outside]


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

    check_modality(traces)
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
        for name in kept_names():
            if (out / name).is_file():
                shutil.copy2(out / name, folder / name)
        rows = describe_blocks(table.blocks, described)
        is_probed = any(row.is_probed for row in rows)
        fits = count_fits_of_check(table, relatives, is_probed=is_probed)
        steps = _Steps(on_step, "leaving tasks out", fits)
        figures = judge_prior(table, rows, relatives, on_fit=steps.advance)
        facts = facts_of(kept, table, relatives, targets)
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
