from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from metaft.prior import check as check_module
from metaft.prior.check import check_prior
from metaft.prior.prior import Prior


def test_what_was_written_holds(world_prior: Path) -> None:
    assert check_prior(Prior.load(world_prior)).discrepancies == ()


def test_a_flattered_figure_is_found(own_prior: Path) -> None:
    path = own_prior / "prior.json"
    values = json.loads(path.read_text())
    values["validation"]["methods"]["learned"]["points"] += 3.0
    values["calibration"]["weight"] = 1.0
    path.write_text(json.dumps(values))
    found = {item.figure for item in check_prior(Prior.load(own_prior)).discrepancies}
    assert {"validation.methods.learned.points", "calibration.weight"} <= found
    assert len(found) == 2


def test_a_screening_holds(screened_prior: Path) -> None:
    assert check_prior(Prior.load(screened_prior)).discrepancies == ()


def test_a_flattered_screening_is_found(screened_prior: Path, tmp_path: Path) -> None:
    vain = Path(shutil.copytree(screened_prior, tmp_path / "vain"))
    values = json.loads((vain / "prior.json").read_text())
    values["screening"]["levels"][0]["points"] += 1.0
    values["screening"]["adopted"]["value"] = 0.2
    (vain / "prior.json").write_text(json.dumps(values))
    found = {item.figure for item in check_prior(Prior.load(vain)).discrepancies}
    assert found == {"screening.levels[0].points", "screening.adopted.value"}


def test_a_shipped_prior_must_not_be_screened_on_the_targets(
    screened_prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_module, "is_shipped", lambda folder: True)
    monkeypatch.setattr(check_module, "forbidden_in_shipped_priors", lambda task: task == "task11")
    found = check_module._forbidden(Prior.load(screened_prior))
    assert [item.figure for item in found] == ["tasks.task11"]


def test_a_shipped_prior_must_not_know_the_targets(own_prior: Path, monkeypatch) -> None:
    prior = Prior.load(own_prior)
    monkeypatch.setattr(check_module, "is_shipped", lambda folder: True)
    monkeypatch.setattr(check_module, "forbidden_in_shipped_priors", lambda task: task == "task02")
    assert [item.figure for item in check_module._forbidden(prior)] == ["tasks.task02"]


def test_differences_are_found_at_any_depth() -> None:
    stored = {"a": [1.0, {"b": 2.0}], "gone": 1, "same": None}
    found = {"a": [1.0, {"b": 2.5}], "same": None, "new": 3}
    paths = {item.figure for item in check_module._differences(stored, found, "")}
    assert paths == {"a[1].b", "gone", "new"}
    assert not list(check_module._differences({"x": 10.0}, {"x": 10.05}, ""))
