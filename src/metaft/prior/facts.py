"""Facts: what a prior's manifest says of the traces that it was fitted to."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any

from metaft.prior.machines import Machine
from metaft.prior.screening import modality_of
from metaft.prior.space import Space
from metaft.prior.table import TraceTable

if TYPE_CHECKING:
    from metaft.traces.trace import Trace


def facts_of(
    traces: Sequence[Trace],
    table: TraceTable,
    relatives: dict[str, frozenset[str]],
    targets: Sequence[str],
) -> dict[str, Any]:
    """Return where a prior comes from, as plain values.

    Args:
        traces: What it was fitted to; at least one.
        table: The same traces as blocks and cells.
        relatives: Training task -> its relatives.
        targets: Datasets whose features are shipped beside those of the tasks.
    """
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
