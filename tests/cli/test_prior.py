from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from metaft.cli import group
from metaft.prior import prior as prior_module
from metaft.traces.store import TraceStore

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
