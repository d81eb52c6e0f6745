"""Packs run as on a machine that has little more than torch: in processes of their own."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import metaft
from metaft.backbones.load import load_backbone
from metaft.tasks.load import load_task
from metaft.tasks.split import subsample
from metaft.traces.bench import Bench
from metaft.traces.lines import read_lines
from metaft.traces.pack.__main__ import main
from metaft.traces.pack.archive import Pack
from metaft.traces.pack.halving import halved
from metaft.traces.pack.write import write_pack
from metaft.traces.plan import group_runs
from metaft.traces.store import TraceStore
from metaft.traces.trace import PlannedRun, Trace

_SLOW = pytest.mark.timeout(600)  # Workers import torch: on a busy machine that takes minutes.
_SOURCE = Path(metaft.__file__).parents[1]
_NOT_THERE = (
    "click",
    "datasets",
    "joblib",
    "learn2learn",
    "matplotlib",
    "pandas",
    "platformdirs",
    "pyarrow",
    "ray",
    "rich",
    "scipy",
    "sklearn",
    "sqlalchemy",
)
_MEASURED = ("costs", "overhead_seconds", "prefix_seconds", "created_at", "environment")
# In place these are of the rounded weights; in a pack, of those before.
_IDENTITY = ("trace_id", "backbone_fingerprint")
_OF_AN_EPOCH = {"train_seconds": 0.0, "evaluation_seconds": 0.0}


def _run(folder: Path, *call: object, missing: tuple[str, ...] = ()) -> str:
    """Run Python where some packages are missing, in every process; return what it says."""
    names = repr((*_NOT_THERE, *missing))
    (folder / "sitecustomize.py").write_text(
        f"import sys\nfor name in {names}:\n    sys.modules[name] = None\n"
    )
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("METAFT", "COVERAGE"))},
        "PYTHONPATH": str(folder),
    }
    done = subprocess.run(
        [sys.executable, *map(str, call)],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def _in_place(runs: Mapping[str, PlannedRun]) -> list[Trace]:
    """Make runs as the recorder does, with the backbone's weights rounded as a pack's are."""
    traces: list[Trace] = []
    backbone = load_backbone(next(iter(runs.values())).backbone)
    backbone.model.load_state_dict(halved(backbone.weights))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for group in group_runs(runs, 1):
        task = load_task(group.task)
        rows = subsample(task, train_rows=group.train_rows, test_rows=1000, seed=group.seed)
        bench = Bench(rows, task.fingerprint, backbone, [r.recipe for r in group.runs.values()])
        traces += [bench.record(run, 0.0) for run in group.runs.values()]
    torch.set_num_threads(threads)
    return traces


def _numbers(trace: Trace) -> dict[str, Any]:
    """Return all of a trace that is neither a measurement of the machine nor its key."""
    curve = [dataclasses.asdict(record) | _OF_AN_EPOCH for record in trace.curve]
    kept = {f.name: getattr(trace, f.name) for f in dataclasses.fields(trace)} | {"curve": curve}
    return {name: value for name, value in kept.items() if name not in (*_MEASURED, *_IDENTITY)}


@_SLOW
def test_texts_give_the_same_numbers_without_the_rest_of_metaft(
    text_pack: Path, tmp_path: Path
) -> None:
    """The source on the path is enough, and a file that a kill cut short goes on."""
    manifest, out = Pack(text_pack).manifest, tmp_path / "traces.jsonl"
    keys, fingerprint = list(manifest.runs), manifest.backbone.fingerprint
    expected = _in_place(manifest.runs)
    first = dataclasses.replace(
        expected[0], trace_id=keys[0], backbone_fingerprint=fingerprint, created_at="before"
    )
    out.write_text(f"{first.to_json()}\n{expected[1].to_json()[:100]}")
    (tmp_path / "metaft").symlink_to(_SOURCE / "metaft")
    call = ("-m", "metaft.traces.pack", "run", text_pack, "--out", out, "--device", "cpu")
    said = _run(tmp_path, *call, missing=("timm",))
    assert "7 runs to make; 1 were made before." in said
    assert "7 runs made (7 ok)" in said
    traces = read_lines(out)
    assert [trace.trace_id for trace in traces] == keys
    assert {trace.backbone_fingerprint for trace in traces} == {fingerprint}
    assert traces[0].created_at == "before"
    assert [_numbers(trace) for trace in traces] == [_numbers(trace) for trace in expected]


@_SLOW
def test_images_are_run_by_the_pack_itself(
    image_runs: list[PlannedRun], store: TraceStore, tmp_path: Path
) -> None:
    pack, out = tmp_path / "images.pack", tmp_path / "traces.jsonl"
    write_pack(image_runs, store, pack)
    said = _run(tmp_path, pack, "--out", out, missing=("transformers",))
    assert "1 runs made (1 ok)" in said
    assert store.import_file(out) == 1
    (trace,) = store.traces()
    (expected,) = _in_place(Pack(pack).manifest.runs)
    assert _numbers(trace) == _numbers(expected)
    assert trace.environment.metaft_version == metaft.__version__


@pytest.mark.parametrize("arguments", [["--workers", "0"], ["--device", "tpu"], []])
def test_wrong_arguments_are_refused(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "some.pack", *arguments])
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("limit", [[], ["--time-limit", "soon"]])
def test_wrong_input_is_one_message(tmp_path: Path, capsys, caplog, limit: list[str]) -> None:
    out = tmp_path / "traces.jsonl"
    assert main(["run", str(tmp_path / "no.pack"), "--out", str(out), *limit]) == 2
    assert ("is no duration" if limit else "is no readable pack") in caplog.text
    assert capsys.readouterr().out == ""
    assert not out.exists()
