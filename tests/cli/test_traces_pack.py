"""`metaft traces pack` and what takes its result back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from click.testing import CliRunner
from tests.traces.conftest import build_trace

from metaft import cli
from metaft.traces.lines import TraceLines
from metaft.traces.pack.archive import Pack
from metaft.traces.store import TraceStore

if TYPE_CHECKING:
    from tests.cli.conftest import Traced


def test_a_pack_is_written_and_its_traces_are_taken_back(traced: Traced, tmp_path: Path) -> None:
    url, pack = f"sqlite:///{tmp_path / 'traces.db'}", tmp_path / "runs.pack"
    call = ["traces", "pack", "--tasks", "sms_spam,optdigits", "--backbone", traced.backbone]
    call += ["--recipes", "3", "--epochs", "2", "--sizes", "16,32", "--seeds", "2"]
    call += ["--store", url, "--out", str(pack), "--format", "json"]
    done = CliRunner().invoke(cli.group, call)
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert (answer["tasks"], answer["runs"], answer["skipped"]) == (1, 3 * 2 * 2, 0)
    assert "Left out optdigits: it is a task of images" in done.stderr

    runs = Pack(pack).manifest.runs
    lines = TraceLines(tmp_path / "traces.jsonl")
    for key, run in list(runs.items())[:5]:
        trace = dataclasses.replace(build_trace(key), task=run.task, recipe=run.recipe)
        lines.append(trace.to_json())
    lines.close()
    imported = ["traces", "import", "--store", url, str(tmp_path / "traces.jsonl")]
    assert CliRunner().invoke(cli.group, imported).stdout == "5 new traces stored\n"
    assert TraceStore(url).ids() == set(list(runs)[:5])

    answer = json.loads(CliRunner().invoke(cli.group, call).stdout)
    assert (answer["runs"], answer["skipped"]) == (7, 5)
