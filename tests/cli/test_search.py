from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from metaft.cli import group
from metaft.cli.search import _place_of
from metaft.recipes import Recipe

if TYPE_CHECKING:
    from tests.cli.conftest import Traced

_FIXED = ("epochs=1", "batch_size=8", "precision=fp32", "max_length=32", "head_init=linear_probe")


def _search(traced: Traced, folder: Path, *options: object) -> Result:
    settings = [word for setting in _FIXED for word in ("--set", setting)]
    space = folder / "space.yaml"
    space.write_text("learning_rate: {low: 1e-4, high: 1e-2, log: true}\n")
    arguments = [
        "search", "--dataset", traced.new_file, "--backbone", traced.backbone, "--offline",
        "--store", f"sqlite:///{folder}/traces.db", "--space", space, "--rows", 16,
        *settings, *options,
    ]  # fmt: skip
    return CliRunner().invoke(group, [str(argument) for argument in arguments])


def test_a_search_answers_with_its_best_and_goes_on(traced: Traced, tmp_path: Path) -> None:
    out = tmp_path / "best.yaml"
    done = _search(traced, tmp_path, "--trials", 2, "--out", out, "--format", "json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert [row["was_stored"] for row in answer["trials"]] == [False, False]
    assert answer["best"] in answer["trials"]
    assert Recipe.load(out).to_mapping() == answer["best"]["recipe"]
    again = _search(traced, tmp_path, "--trials", 3, "--format", "json")
    rows = json.loads(again.stdout)["trials"]
    assert [row["was_stored"] for row in rows] == [True, True, False]
    assert [row["recipe"] for row in rows[:2]] == [row["recipe"] for row in answer["trials"]]


def test_a_table_shows_what_was_varied(traced: Traced, tmp_path: Path) -> None:
    done = _search(traced, tmp_path, "--trials", 2, "--sampler", "random")
    assert done.exit_code == 0, done.output
    assert "learning_rate" in done.stdout
    assert "weight_decay" not in done.stdout
    assert "chosen on the validation rows" in done.stdout


def test_a_narrow_table_cuts_no_field_off(traced: Traced, tmp_path: Path) -> None:
    space = tmp_path / "wide.yaml"
    space.write_text(
        "learning_rate: {low: 1e-5, high: 1e-3, log: true}\nfrozen_fraction: [0.0, 0.25, 0.5]\n"
        "weight_decay: [0.0, 0.01, 0.1]\nwarmup_fraction: [0.0, 0.1, 0.2]\n"
        "label_smoothing: [0.0, 0.1]\n"
    )
    call = ("--trials", 3, "--sampler", "random", "--space", space)
    answer = json.loads(_search(traced, tmp_path, *call, "--format", "json").stdout)
    shown = " ".join(_search(traced, tmp_path, *call).stdout.replace("│", " ").split())
    recipes = [row["recipe"] for row in answer["trials"]]
    varied = [name for name in recipes[0] if len({str(one[name]) for one in recipes}) > 1]
    assert len(varied) >= 5
    for recipe in recipes:
        assert f"learning_rate {recipe['learning_rate']:.3g}" in shown
    assert all(name in shown for name in varied)


def test_the_prior_may_start_it(traced: Traced, tiny_prior: Path, tmp_path: Path) -> None:
    done = _search(
        traced, tmp_path, "--trials", 2, "--warm-start", 2, "--prior", tiny_prior,
        "--format", "json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    epochs = [row["recipe"]["max_length"] for row in json.loads(done.stdout)["trials"]]
    assert epochs == [128, 128], "the recipes are the prior's own, not those of --set"


def test_trials_without_a_score_come_last() -> None:
    scores = [0.5, math.nan, 0.9, None, 0.7]
    ranked = sorted(({"validation": score} for score in scores), key=_place_of)
    assert [row["validation"] for row in ranked[:3]] == [0.9, 0.7, 0.5]


@pytest.mark.usefixtures("workers_in_process")
def test_workers_share_the_trials(traced: Traced, tmp_path: Path) -> None:
    done = _search(traced, tmp_path, "--trials", 3, "--workers", 2, "--format", "json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["trials"]
    assert [row["was_stored"] for row in rows] == [False] * 3
    assert len({row["trace_id"] for row in rows}) == 3


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--prior", "x"], "--warm-start"),
        (["--set", "schedule=cosin"], "Set schedule to cosine"),
        (["--space", "nothing.yaml"], "cannot be read"),
        (["--set", "augmentation=flip"], "allowed there are synonyms"),
        (["--sampler", "asha", "--set", "schedule=linear"], "asha stops runs early"),
        (["--sampler", "asha", "--set", "early_stopping_patience=2"], "ran out of patience"),
        (["--sampler", "asha", "--set", "warmup_fraction=1", "--set", "epochs=2"], "at most 0.5"),
    ],
)
def test_wrong_input_is_one_message(
    traced: Traced, tmp_path: Path, options: list[str], problem: str
) -> None:
    done = _search(traced, tmp_path, *options)
    assert done.exit_code == 2
    assert problem in done.stderr
    assert "Traceback" not in done.output
