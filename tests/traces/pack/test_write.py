from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from metaft.errors import PackError
from metaft.traces.pack.archive import Pack
from metaft.traces.pack.write import write_pack
from metaft.traces.store import TraceStore
from metaft.traces.trace import PlannedRun

if TYPE_CHECKING:
    from tests.traces.conftest import TraceFactory


def test_runs_keep_their_order_and_each_occurs_once(
    text_pack: Path, text_runs: list[PlannedRun]
) -> None:
    planned = [dataclasses.replace(run, train_rows=min(run.train_rows, 24)) for run in text_runs]
    assert list(Pack(text_pack).manifest.runs.values()) == planned


def test_what_the_store_holds_is_left_out(
    text_pack: Path,
    text_runs: list[PlannedRun],
    store: TraceStore,
    make_trace: TraceFactory,
    tmp_path: Path,
) -> None:
    keys = list(Pack(text_pack).manifest.runs)
    store.add_all([make_trace(key) for key in keys[:-2]])
    seen: list[str] = []
    absent = dataclasses.replace(text_runs[0], task=str(tmp_path / "gone.csv"))
    summary = write_pack([*text_runs, absent], store, tmp_path / "p", on_task=seen.append)
    assert (summary.tasks, summary.runs, summary.skipped) == (1, 2, len(keys) - 2)
    assert list(Pack(tmp_path / "p").manifest.runs) == keys[-2:]
    assert list(summary.problems) == [absent.task]
    assert "there is no file" in summary.problems[absent.task]
    assert seen == [text_runs[0].task, absent.task]
    assert summary.size_mib * 2**20 == (tmp_path / "p").stat().st_size


def test_nothing_to_pack_leaves_nothing(
    text_pack: Path,
    text_runs: list[PlannedRun],
    store: TraceStore,
    make_trace: TraceFactory,
    tmp_path: Path,
) -> None:
    store.add_all([make_trace(key) for key in Pack(text_pack).manifest.runs])
    with pytest.raises(PackError, match="holds all 8 runs"):
        write_pack(text_runs, store, tmp_path / "out" / "p")
    absent = dataclasses.replace(text_runs[0], task=str(tmp_path / "gone.csv"))
    with pytest.raises(PackError, match="none of the tasks can be packed"):
        write_pack([absent], store, tmp_path / "out" / "p")
    assert list((tmp_path / "out").iterdir()) == []


def test_tagged_words_are_named_as_what_cannot_be_packed(
    text_runs: list[PlannedRun], store: TraceStore, tmp_path: Path
) -> None:
    rows = [{"tokens": ["river", str(n)], "ner_tags": ["B-X", "O"]} for n in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    tagged = dataclasses.replace(text_runs[0], task=str(tmp_path / "rows.jsonl"))
    with pytest.raises(PackError, match="tasks of kind ner cannot be packed yet"):
        write_pack([tagged], store, tmp_path / "p")
