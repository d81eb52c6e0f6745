from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from metaft.backbones.load import load_backbone
from metaft.cli import group
from metaft.prior import prior as prior_module
from metaft.recipes import Recipe
from metaft.tasks.load import load_task
from metaft.traces.bench import Bench
from metaft.traces.store import TraceStore
from metaft.traces.table import write_parquet
from metaft.traces.trace import PlannedRun

if TYPE_CHECKING:
    from tests.cli.conftest import Traced


def _prior(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["prior", *map(str, arguments)])


def test_list(tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prior_module, "shipped_folder", lambda name: tiny_prior.parent)
    (answer,) = json.loads(_prior("list", "--format", "json").stdout)
    assert answer["name"] == "tiny-v0"
    assert answer["tasks"] == 3
    assert "tiny-v0" in _prior("list").stdout


def test_show(tiny_prior: Path) -> None:
    answer = json.loads(_prior("show", tiny_prior, "--format", "json").stdout)
    assert answer["folder"] == str(tiny_prior)
    assert answer["validation"]["tasks"] == 3
    table = _prior("show", tiny_prior).stdout
    assert "file1.csv" in table
    assert "best-average" in table


def test_check_holds(tiny_prior: Path) -> None:
    done = _prior("check", tiny_prior, "--format", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["holds"] is True


def test_check_fails_on_a_flattered_figure(tiny_prior: Path, tmp_path: Path) -> None:
    vain = Path(shutil.copytree(tiny_prior, tmp_path / "vain"))
    values = json.loads((vain / "prior.json").read_text())
    values["validation"]["methods"]["learned"]["regret"] -= 5.0
    (vain / "prior.json").write_text(json.dumps(values))
    done = _prior("check", vain)
    assert done.exit_code == 1
    assert "validation.methods.learned.regret" in done.stdout
    assert "do not hold" in done.stderr


def test_fit_needs_traces(tmp_path: Path) -> None:
    done = _prior("fit", "--store", f"sqlite:///{tmp_path}/none.db", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert not (tmp_path / "out").exists()
    both = ("--store", "sqlite:///a.db", "--traces", tmp_path / "t.parquet")
    assert "both say where the traces are" in _prior("fit", *both, "--out", tmp_path).stderr


def test_fit_to_a_store(traced: Traced, tmp_path: Path) -> None:
    store = TraceStore(f"sqlite:///{tmp_path}/traces.db")
    store.import_file(traced.traces)
    out = tmp_path / "from-store"
    done = _prior("fit", "--store", store.url, "--out", out, "--targets", traced.new_file)
    assert done.exit_code == 0, done.output
    assert "from-store" in done.stdout
    assert json.loads((out / "prior.json").read_text())["targets"] == [traced.new_file]


def test_fit_to_none_of_the_traces(traced: Traced, tmp_path: Path) -> None:
    options = ("--traces", traced.traces, "--out", tmp_path / "out")
    done = _prior("fit", *options, "--backbone", "never/seen")
    assert done.exit_code == 2
    assert "no traces to fit to" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_prior(tmp_path: Path) -> None:
    done = _prior("show", tmp_path)
    assert done.exit_code == 2
    assert "prior.json" in done.stderr


def test_what_screening_adopts_is_suggested_and_run(traced: Traced, tmp_path: Path) -> None:
    out = tmp_path / "screened-v0"
    options = ("--traces", traced.traces, "--screening", _screen(traced, tmp_path), "--out", out)
    shown = _invoke("prior", "fit", *options).stdout
    assert "No level is shown to help, so suggestions keep the plain values." in shown
    assert "label_smoothing" in shown
    screening = json.loads((out / "prior.json").read_text())["screening"]
    assert (screening["traces"], len(screening["levels"])) == (4, 1)

    asked = ("suggest", "--dataset", traced.new_file, "--prior", out)
    answer = json.loads(_invoke(*asked, "--format", "json").stdout)
    assert answer["screening"]["applied"] is None
    assert "none of 1 screened levels is shown to help" in answer["screening"]["said"]

    _adopt_label_smoothing(out)
    table = " ".join(_invoke(*asked).stdout.replace("│", " ").split())
    assert "0.1 label_smoothing (plain: 0)" in table
    assert "screened label_smoothing=0.1: +1.00 points over 2 tasks at" in table
    finetune = ("finetune", "--dataset", traced.new_file, "--backbone", traced.backbone)
    run = (*finetune, "--prior", out, "--goal", "score", "--out", tmp_path / "run")
    done = _invoke(*run, "--format", "json")
    assert "screened: label_smoothing=0.1" in done.stderr
    assert json.loads(done.stdout)["recipe"]["label_smoothing"] == 0.1


def _screen(traced: Traced, folder: Path) -> Path:
    """Record a base recipe, and the same with label smoothing, on two of the files."""
    network = load_backbone(traced.backbone)
    base = Recipe(epochs=1, frozen_fraction=0.5, precision="fp32")
    traces = []
    for path in traced.files[:2]:
        task = load_task(path)
        bench = Bench(task, task.fingerprint, network)
        for recipe in (base, dataclasses.replace(base, label_smoothing=0.1)):
            run = PlannedRun(path, traced.backbone, recipe, len(task.train), 0)
            traces.append(bench.record(run, time.perf_counter()))
    write_parquet(traces, folder / "screening.parquet")
    return folder / "screening.parquet"


def _invoke(*arguments: object) -> Result:
    done = CliRunner().invoke(group, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done


def _adopt_label_smoothing(folder: Path) -> None:
    """Write figures into a prior that meet the rule."""
    values = json.loads((folder / "prior.json").read_text())
    met = {"points": 1.0, "validation_points": 1.0, "t_test_p_holm": 0.01, "wilcoxon_p_holm": 0.01}
    for level in values["screening"]["levels"]:
        if level["field"] == "label_smoothing":
            level.update(met)
    (folder / "prior.json").write_text(json.dumps(values))
