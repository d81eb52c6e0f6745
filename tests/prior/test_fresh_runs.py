"""What fresh runs showed is said of runs that are like them, and of no others."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from metaft.errors import PriorError
from metaft.prior.fresh_runs import FRESH_RUNS, FreshRuns, FreshSize, Lead, note_fresh_runs

GAIN = Lead(3.9, 2.1, 6.7, 0.014, 0.0009)
NULL = Lead(0.1, -0.6, 0.8, 1.0, 0.9)
SHORT = Lead(-5.3, -9.0, -2.0, 0.008, 0.033)
SMALL = FreshSize(128, 5, on_plain=GAIN, on_average=NULL, on_predicted=SHORT)
LARGE = FreshSize(512, 3, on_plain=NULL, on_average=GAIN, on_predicted=NULL)
RUNS = FreshRuns("tiny 0.3.0", "minilm", 20, (SMALL, LARGE))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    RUNS.save(tmp_path)
    return tmp_path


def test_it_comes_back_as_it_was_written(folder: Path) -> None:
    assert FreshRuns.read(folder) == RUNS


@pytest.mark.parametrize(("rows", "found"), [(64, 128), (200, 128), (300, 512), (1024, 512)])
def test_the_nearest_size_is_told_of(folder: Path, rows: int, found: int) -> None:
    assert note_fresh_runs(folder, "minilm", rows).found.train_rows == found


@pytest.mark.parametrize(("backbone", "rows"), [("other", 128), ("minilm", 60), ("minilm", 2048)])
def test_nothing_is_said_of_runs_unlike_those(folder: Path, backbone: str, rows: int) -> None:
    assert note_fresh_runs(folder, backbone, rows) is None


def test_a_prior_without_fresh_runs_says_nothing(tmp_path: Path) -> None:
    assert note_fresh_runs(tmp_path, "minilm", 128) is None


def test_a_null_result_is_called_one(folder: Path) -> None:
    said = note_fresh_runs(folder, "minilm", 128).said
    assert said == (
        "on 20 unseen tasks at 128 rows tiny 0.3.0 gained +3.9 points (p = .014) on plain and "
        "+0.1 points (p = 1.000) on the recipe that is best on average, so not shown to beat that "
        "one fixed recipe; scores lay 5.3 points below what it had expected"
    )


def test_a_gain_is_not_called_null(folder: Path) -> None:
    said = note_fresh_runs(folder, "minilm", 512).said
    assert "+3.9 points (p = .014) on the recipe that is best on average" in said
    assert "not shown" not in said
    assert "expected" not in said


@pytest.mark.parametrize(
    "changed", [{"points": -3.9}, {"t_p_value": 0.051}, {"wilcoxon_p_value": 0.051}]
)
def test_both_tests_must_show_the_gain(tmp_path: Path, changed) -> None:
    lead = dataclasses.replace(GAIN, **changed)
    size = dataclasses.replace(LARGE, on_average=lead)
    dataclasses.replace(RUNS, sizes=(size,)).save(tmp_path)
    assert "not shown to beat" in note_fresh_runs(tmp_path, "minilm", 512).said


def test_it_can_be_said_in_json(folder: Path) -> None:
    mapping = note_fresh_runs(folder, "minilm", 128).to_mapping()
    assert json.loads(json.dumps(mapping))["found"]["on_average"]["points"] == 0.1
    assert list(mapping) == ["prior", "tasks", "found", "said"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 2}', '{"schema": 1}', '{"schema": 1, "sizes": [{}]}']
)
def test_a_broken_file_says_how_to_be_rid_of_it(folder: Path, text: str) -> None:
    (folder / FRESH_RUNS).write_text(text)
    with pytest.raises(PriorError, match=r"cannot be read.*\n*.*Delete it"):
        note_fresh_runs(folder, "minilm", 128)
