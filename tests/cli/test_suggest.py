from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner, Result

from metaft.cli import group
from metaft.recipes import FIELDS, Recipe

if TYPE_CHECKING:
    from tests.cli.conftest import Traced


@pytest.fixture
def suggest(tiny_prior: Path, traced: Traced) -> Callable[..., Result]:
    """Return a function that asks the prior about the file that was never recorded."""

    def run(*options: str) -> Result:
        asked = ["suggest", "--dataset", traced.new_file, "--prior", str(tiny_prior)]
        return CliRunner().invoke(group, [*asked, *options])

    return run


def test_json_is_the_contract(suggest, traced) -> None:
    done = suggest("--format", "json", "--top", "2")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["dataset"] == traced.new_file
    assert answer["seen_in_training"] is False
    assert tuple(answer["recipe"]) == FIELDS
    predicted = answer["predicted"]
    assert predicted["low"] <= predicted["score"] <= predicted["high"]
    assert len(answer["alternatives"]) == 1
    assert answer["prior"]["name"] == "tiny-v0"


def test_yaml_says_the_same(suggest) -> None:
    as_json = json.loads(suggest("--format", "json").stdout)
    assert yaml.safe_load(suggest("--format", "yaml").stdout) == as_json


def test_a_person_understands_the_table(suggest) -> None:
    table = suggest("--top", "3").stdout
    for words in (
        "training rows",
        "learning_rate",
        "accuracy on test rows",
        "MiB",
        "nearest tasks",
        "start from",
        "fallback",
        "alternatives",
        "tiny-v0",
    ):
        assert words in table, words


def test_the_recipe_can_be_written(suggest, tmp_path: Path) -> None:
    out = tmp_path / "recipe.yaml"
    done = suggest("--format", "json", "--out", str(out))
    assert Recipe.load(out).to_mapping() == json.loads(done.stdout)["recipe"]
    assert str(out) in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-time", "0.00001s"], "no recipe fits into 1e-05 seconds"),
        (["--max-memory", "1MiB"], "no recipe fits into 1 MiB"),
        (["--max-time", "soon"], "'soon' is no duration"),
        (["--prior", "nonsense"], "'nonsense' is neither a folder nor a shipped prior"),
        (["--rows", "3"], "3 is not in the range"),
    ],
)
def test_wrong_input_is_one_message(suggest, options: list[str], message: str) -> None:
    done = suggest(*options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_probe_is_said_with_its_cost(suggest) -> None:
    done = suggest("--probe", "--format", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["probe"]["seconds"] > 0
    assert "the trial steps were known already" in suggest("--probe").stdout
    assert json.loads(suggest("--format", "json").stdout)["probe"] is None


def test_limits_are_kept(suggest) -> None:
    free = json.loads(suggest("--format", "json").stdout)["predicted"]
    cheap = json.loads(suggest("--goal", "cost", "--format", "json").stdout)["predicted"]
    assert cheap["train_seconds"] <= free["train_seconds"]
