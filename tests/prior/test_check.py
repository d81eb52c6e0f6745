from __future__ import annotations

import json
from pathlib import Path

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
