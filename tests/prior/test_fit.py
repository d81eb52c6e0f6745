"""From real runs of a tiny backbone on tiny files to a prior, and to an answer for a new file."""

from __future__ import annotations

import csv
import dataclasses
import math
import time
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from metaft.backbones.load import load_backbone
from metaft.errors import PriorError
from metaft.finetuning.outcome import Costs
from metaft.prior.admitting import check_prior_folder
from metaft.prior.ask import suggest_for
from metaft.prior.check import check_prior
from metaft.prior.choice import Limits
from metaft.prior.fit import fit_prior, write_prior
from metaft.prior.prior import Prior
from metaft.prior.suggest import suggest
from metaft.prior.table import tabulate
from metaft.recipes import HALF_FROZEN, design
from metaft.tasks.load import load_task
from metaft.traces.bench import Bench
from metaft.traces.trace import PlannedRun, Trace


@pytest.fixture(scope="module")
def backbone(tmp_path_factory, tiny_text_backbone) -> str:
    folder = tmp_path_factory.mktemp("backbone")
    tiny = tiny_text_backbone()
    tiny.save(folder, nn.Linear(tiny.width, 2), ("river", "engine"))
    return str(folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny_task) -> list[str]:
    """Return four CSV files; the last one is never recorded."""
    folder = tmp_path_factory.mktemp("files")
    paths = []
    for number in range(4):
        task = tiny_task(rows=64, classes=2 + number % 2, seed=number)
        path = folder / f"file{number}.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label"])
            labels = (task.label_names[label] for label in task.train.labels)
            rows.writerows(zip(task.train.texts, labels, strict=True))
        paths.append(str(path))
    return paths


@pytest.fixture(scope="module")
def traces(files: list[str], backbone: str) -> list[Trace]:
    network = load_backbone(backbone)
    found = []
    for path in files[:3]:
        task = load_task(path)
        bench = Bench(task, task.fingerprint, network)
        for recipe in design(4, 3):
            run = PlannedRun(path, backbone, recipe, len(task.train), 0)
            found.append(bench.record(run, time.perf_counter()))
    return found


@pytest.fixture(scope="module")
def folder(traces: list[Trace], files: list[str], tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("priors") / "tiny-v0"
    steps: list[tuple[str, int, int]] = []
    fit_prior(traces, folder, targets=[files[3]], on_step=lambda *step: steps.append(step))
    assert [step for step in steps if step[0] == "describing tasks"][-1][1:] == (4, 4)
    assert steps[-1][1] == steps[-1][2]
    return folder


def test_files(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "prior.json",
        "traces.parquet",
        "features.parquet",
        "README.md",
    }


def test_what_it_says_of_itself(folder: Path, files: list[str], backbone: str) -> None:
    manifest = Prior.load(folder).manifest
    assert manifest["modality"] == "text"
    assert manifest.backbones == (backbone,)
    assert [task["name"] for task in manifest["tasks"]] == files[:3]
    assert manifest["targets"] == [files[3]]
    assert manifest["train_rows"] == [len(load_task(files[0]).train)]
    assert manifest["space"]["recipes"] == 4
    assert manifest["space"]["fields"]["epochs"] == [1, 2, 3]
    assert manifest["metrics"] == ["accuracy"]


def test_a_new_file_is_answered(folder: Path, files: list[str], backbone: str) -> None:
    answer = suggest_for(files[3], prior=str(folder), backbone=backbone, offline=True)
    assert answer.backbone == backbone
    assert not answer.seen_in_training
    assert answer.train_rows == len(load_task(files[3]).train)
    assert {near.task for near in answer.nearest_tasks} == set(files[:3])


def test_a_recorded_file_is_known_by_its_rows(folder: Path, files: list[str], tmp_path) -> None:
    copy = tmp_path / "copy.csv"
    copy.write_bytes(Path(files[0]).read_bytes())
    answer = suggest_for(str(copy), prior=str(folder))
    assert answer.seen_in_training
    assert answer.nearest_tasks[0].distance == pytest.approx(0.0, abs=1e-6)


def test_an_initialisation_survives_a_new_fit(folder: Path, traces, make_world, tmp_path) -> None:
    world = make_world(2, recipes=4)
    out = tmp_path / "prior"
    out.mkdir()
    (out / "init.safetensors").write_bytes(b"weights")
    (out / "init.checkpoint.safetensors").write_bytes(b"weights and more")
    (out / "initialisation.json").write_text("what a comparison said")
    (out / "fresh_runs.json").write_text("what fresh runs said")
    prior = write_prior(world.traces, world.described, out, relatives=world.relatives)
    assert (out / "init.safetensors").read_bytes() == b"weights"
    assert "init.safetensors" in prior.manifest["files"]
    # An unfinished meta-training goes on after the fit, and is no part of the prior.
    assert (out / "init.checkpoint.safetensors").read_bytes() == b"weights and more"
    assert "init.checkpoint.safetensors" not in prior.manifest["files"]
    assert (out / "initialisation.json").read_text() == "what a comparison said"
    assert (out / "fresh_runs.json").read_text() == "what fresh runs said"
    check_prior_folder(out)


def test_a_folder_with_other_things_is_left_alone(traces, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(PriorError, match=r"holds thesis\.tex, which is no part of a prior"):
        fit_prior(traces, tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_targets_are_no_training_tasks(traces, files, tmp_path: Path) -> None:
    with pytest.raises(PriorError, match="both a target and a training task"):
        fit_prior(traces, tmp_path / "out", targets=[files[0]])


def test_rows_that_changed_are_noticed(traces, files, tmp_path: Path) -> None:
    import dataclasses

    stale = [dataclasses.replace(trace, task_fingerprint="0" * 16) for trace in traces]
    with pytest.raises(PriorError, match="are not those its traces were recorded on"):
        fit_prior(stale, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_prior_knows_one_modality(make_world, tmp_path: Path) -> None:
    import dataclasses

    world = make_world(3, recipes=4)
    mixed = [
        dataclasses.replace(t, kind="image_classification") if t.task == "task00" else t
        for t in world.traces
    ]
    with pytest.raises(PriorError, match=r"images \(.*\) and texts \(.*\); a prior knows one"):
        write_prior(mixed, world.described, tmp_path / "out", relatives=world.relatives)
    assert list(tmp_path.iterdir()) == []


def _from_outside(trace: Trace) -> Trace:
    """Return a trace as if somebody else had made it, and told no costs."""
    unknown = {"train_seconds": math.nan, "evaluation_seconds": math.nan}
    return dataclasses.replace(
        trace,
        task_fingerprint=f"outside:a friend: {trace.task}",
        curve=tuple(dataclasses.replace(r, test_halves=(), **unknown) for r in trace.curve),
        costs=Costs(math.nan, math.nan, None, math.nan),
    )


@pytest.fixture(scope="module")
def outside(make_world, tmp_path_factory) -> Prior:
    """Return a prior of tasks that nothing here could load."""
    traces = [_from_outside(trace) for trace in make_world(4, recipes=6, epochs=2).traces]
    return fit_prior(traces, tmp_path_factory.mktemp("outside") / "prior")


def test_runs_from_elsewhere_need_neither_rows_nor_backbone(outside: Prior) -> None:
    (first, *_) = outside.fitted.described
    known = {name: value for name, value in first.values.items() if not math.isnan(value)}
    assert known == {
        "log2_train_rows": math.log2(512),
        "is_regression": 0.0,
        "is_pair": 0.0,
        "is_image": 0.0,
    }
    assert outside.manifest["validation"]["tasks"] == 4


def test_runs_from_elsewhere_are_judged_by_their_whole_test_rows(make_world, outside) -> None:
    """They have no halves, so the oracle is what it is: the best cell of the task."""
    points = tabulate(make_world(4, recipes=6, epochs=2).traces).test
    lost = []
    for row, own in enumerate(points):
        others = np.delete(points, row, axis=0)
        effects = (others - np.nanmean(others, axis=1, keepdims=True)).mean(axis=0)
        lost.append(np.nanmax(own) - own[np.nanargmax(effects)])
    judged = outside.manifest["validation"]["methods"]["best-average"]
    assert judged["regret"] == pytest.approx(np.mean(lost))
    assert judged["regret"] > 0.1


def test_costs_that_no_trace_tells_are_said_to_be_unknown(outside: Prior) -> None:
    row = outside.fitted.described[0]
    fallback = suggest(outside, row).fallback
    assert fallback is not None
    assert "no trace tells what a run takes of time and memory: 0 is unknown" in fallback
    for told in ({"goal": "cost"}, {"limits": Limits(60)}, {"limits": Limits(None, 1024)}):
        with pytest.raises(PriorError, match="no trace of this prior tells"):
            suggest(outside, row, **told)


def test_a_task_is_recorded_here_or_elsewhere(make_world, tmp_path: Path) -> None:
    traces = make_world(2, recipes=4, epochs=2).traces
    with pytest.raises(PriorError, match="a name of its own"):
        fit_prior([_from_outside(traces[0]), *traces[1:]], tmp_path / "out")


def test_what_the_models_do_not_know_is_left_out(
    traces, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    varied = [
        dataclasses.replace(
            trace,
            trace_id=f"{number:032d}",
            recipe=trace.recipe.with_settings({"label_smoothing": 0.2}),
        )
        for number, trace in enumerate(traces[:2])
    ]
    prior = fit_prior([*traces, *varied], tmp_path / "prior")
    assert len(prior.read_traces()) == len(traces)
    assert f"2 of {len(traces) + 2} traces are left out" in caplog.text


@pytest.fixture(scope="module")
def screening(files: list[str], backbone: str) -> list[Trace]:
    """Return the base of `metaft study screening`, and one level, on every file."""
    network = load_backbone(backbone)
    base = HALF_FROZEN.extended(3)
    found = []
    for path in files[:3]:
        task = load_task(path)
        bench = Bench(task, task.fingerprint, network)
        for recipe in (base, dataclasses.replace(base, schedule="linear")):
            run = PlannedRun(path, backbone, recipe, len(task.train), 0)
            found.append(bench.record(run, time.perf_counter()))
    return found


def test_screening_is_stored_beside_what_the_models_learn_from(
    traces: list[Trace], screening: list[Trace], files: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "screened"
    prior = fit_prior([*traces, *screening[1::2]], out, screening=[*traces, *screening])
    assert prior.manifest["traces"] == len(traces), "the varied runs teach the models nothing"
    stored = prior.manifest["screening"]
    assert (stored["traces"], stored["adopted"]) == (6, None)
    assert [level["field"] for level in stored["levels"]] == ["schedule"]
    assert sorted(stored["tasks"]) == sorted(files[:3])
    assert {trace.trace_id for trace in prior.read_screening()} == {t.trace_id for t in screening}

    again = fit_prior(traces, out)  # kept, as an initialisation is
    assert again.manifest["screening"] == stored
    assert check_prior(again).discrepancies == ()
    (out / "screening.parquet").unlink()
    assert "screening" not in fit_prior(traces, out).manifest.values


def test_screening_traces_that_tell_nothing_are_refused(
    traces: list[Trace], tmp_path: Path
) -> None:
    with pytest.raises(PriorError, match="no run beside its base"):
        fit_prior(traces, tmp_path / "out", screening=traces)
    assert not (tmp_path / "out").exists()


def test_a_target_must_not_be_screened(
    traces: list[Trace], screening: list[Trace], files: list[str], tmp_path: Path
) -> None:
    fewer = [trace for trace in traces if trace.task != files[0]]
    with pytest.raises(PriorError, match="both a target and a training task"):
        fit_prior(fewer, tmp_path / "out", screening=screening, targets=[files[0]])
