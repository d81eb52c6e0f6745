"""The crew, with workers that make nothing up but their deaths."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from metaft.errors import PackError, RunFailedError
from metaft.recipes import Recipe
from metaft.traces.pack import crew as crew_module
from metaft.traces.pack.crew import Crew, Orders
from metaft.traces.trace import PlannedRun, Trace

if TYPE_CHECKING:
    from tests.traces.conftest import TraceFactory

_SLOW = pytest.mark.timeout(600)


def _make(
    tmp_path: Path, lines: dict[str, str], workers: int, monkeypatch: pytest.MonkeyPatch
) -> list[Trace]:
    monkeypatch.syspath_prepend(Path(__file__).parent)  # A worker must be able to import it.
    monkeypatch.setattr(crew_module, "work", importlib.import_module("acting").act)
    script = tmp_path / "lines.json"
    script.write_text(json.dumps(lines))
    seen: list[Trace] = []
    runs = {key: PlannedRun("t", "b", Recipe(), 8, at) for at, key in enumerate(sorted(lines))}
    runs.pop("failed", None)
    Crew(Orders(script), workers, lambda trace, _: seen.append(trace)).make(runs)
    return seen


@_SLOW
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_kills_its_worker_is_set_aside(
    tmp_path: Path, make_trace: TraceFactory, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    lines = {key: make_trace(key).to_json() for key in "abd"}
    lines |= {"c": "die", "failed": make_trace("c", status="failed").to_json()}
    seen = _make(tmp_path, lines, workers, monkeypatch)
    assert sorted(trace.trace_id for trace in seen) == ["a", "b", "c", "d"]
    assert [trace.trace_id for trace in seen if trace.status == "failed"] == ["c"]


@_SLOW
def test_a_run_that_ran_out_of_memory_beside_others_is_made_again_alone(
    tmp_path: Path, make_trace: TraceFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {key: make_trace(key).to_json() for key in "bcd"}
    lines["a"] = make_trace("a", status="out_of_memory").to_json()
    seen = [trace.trace_id for trace in _make(tmp_path, lines, 2, monkeypatch)]
    assert sorted(seen) == ["a", "b", "c", "d"]
    assert seen[-1] == "a"


@_SLOW
def test_a_crew_that_cannot_begin_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PackError, match="no timm here"):
        _make(tmp_path, {"problem": "no timm here"}, 1, monkeypatch)
    with pytest.raises(RunFailedError, match="exit status 9"):
        _make(tmp_path, {"early death": ""}, 1, monkeypatch)
