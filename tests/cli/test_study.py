from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner, Result

from metaft import cli
from metaft.studying.card import shipped_studies

if TYPE_CHECKING:
    from tests.cli.conftest import Traced

FAST = {"epochs": 1, "batch_size": 8, "max_length": 16, "precision": "fp32"}


def _study(*options: object) -> Result:
    return CliRunner().invoke(cli.group, ["study", *map(str, options)])


@pytest.fixture
def card(traced: Traced, tmp_path: Path) -> Path:
    variant: dict[str, Any] = {
        "tasks": traced.files[:2],
        "rows": 16,
        "seeds": 1,
        "backbones": [traced.backbone],
        "base": FAST,
        "factors": {"freezing": {"none": {}, "half": {"frozen_fraction": 0.5}}},
    }
    path = tmp_path / "mine.yaml"
    values = {"title": "Mine", "question": "Does it?", "source": "me"}
    path.write_text(yaml.safe_dump({**values, "full": variant, "small": variant}, sort_keys=False))
    return path


def test_the_studies_are_listed() -> None:
    result = _study("--list", "--format", "json")
    assert result.exit_code == 0, result.stderr
    assert tuple(one["name"] for one in json.loads(result.stdout)) == shipped_studies()
    assert "low-resource-transfer" in _study("--list").stdout


def test_a_dry_run_says_the_size_of_the_grid_and_runs_nothing(card: Path, tmp_path: Path) -> None:
    store = tmp_path / "traces.db"
    options = ["--dry-run", "--store", f"sqlite:///{store}", "--out", tmp_path / "out"]
    result = _study(card, *options, "--format", "json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert (answer["runs"], answer["stored"], answer["unknown"]) == (4, 0, 4)
    assert answer["levels"] == {"freezing": ["none", "half"]}
    assert "mine (full): 4 runs on 2 tasks, 0 of them stored." in result.stderr
    assert "How long 4 runs will take is not known" in result.stderr
    assert not (tmp_path / "out").exists()
    shown = _study(card, *options).stdout
    assert "none, half" in shown


@pytest.mark.usefixtures("workers_in_process")
def test_a_study_is_run_reported_and_not_run_again(card: Path, tmp_path: Path) -> None:
    options = [card, "--small", "--store", f"sqlite:///{tmp_path}/traces.db", "--workers", 1]
    result = _study(*options, "--out", tmp_path / "out", "--format", "json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["answer"].startswith("2 datasets cannot show a difference")
    assert (answer["runs_there"], answer["failures"]) == (4, 0)
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["report.html", "results.json", "runs.csv"]
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == answer
    assert str(tmp_path / "out" / "report.html") in result.stderr

    again = _study(*options, "--out", tmp_path / "again")
    assert "4 of them stored. Nothing is left to run." in again.stderr
    assert "Levels of freezing" in again.stdout
    runs = (tmp_path / "again" / "runs.csv").read_text()
    assert runs == (tmp_path / "out" / "runs.csv").read_text(), "to the last second"


@pytest.mark.usefixtures("workers_in_process")
def test_the_default_folder_is_named_after_the_study(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--store", f"sqlite:///{tmp_path}/traces.db", "--workers", 1]
    result = _study(card, "--small", *options, "--time-limit", "1s")
    assert (tmp_path / "studies" / "mine-small").is_dir()
    assert result.exit_code in (0, 1), result.stderr  # After a second there may be nothing yet.


def test_methods_ask_the_prior_that_is_named(
    card: Path, traced: Traced, tiny_prior: Path, tmp_path: Path
) -> None:
    values = yaml.safe_load(card.read_text())
    values["small"].pop("factors")
    values["small"] |= {
        "tasks": [traced.files[0], traced.new_file],
        "methods": ["plain", "learned", "best-average", "asked"],
        "recipes": {"asked": {"learning_rate": "prior", "schedule": "adaptive"}},
    }
    card.write_text(yaml.safe_dump(values, sort_keys=False))
    store = f"sqlite:///{tmp_path}/traces.db"
    options = ["--small", "--dry-run", "--prior", tiny_prior, "--store", store]
    result = _study(card, *options, "--format", "json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["left_out"] == []
    assert answer["levels"] == {"method": ["plain", "learned", "best-average", "asked"]}
    assert 2 * 2 <= answer["runs"] <= 2 * 4, "methods that choose alike share their run"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no study is named; the studies are adaptive-rates"),
        (["augmentatoin"], "there is no study 'augmentatoin'; the studies are"),
        (["nowhere.yaml"], "the study card nowhere.yaml cannot be read"),
        (["augmentation", "--inits", "nowhere"], "--inits is 'nowhere', which is no folder"),
        (["augmentation", "--time-limit", "soon"], "'soon' is no duration"),
        (["augmentation", "--prior", "nowhere"], "'nowhere' is neither a folder nor a shipped"),
    ],
)
def test_wrong_input_is_one_message_and_nothing_is_written(
    options: list[str], message: str, tmp_path: Path
) -> None:
    result = _study(*options, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_wrong_level_is_refused_before_any_work(card: Path, tmp_path: Path) -> None:
    card.write_text(card.read_text().replace("frozen_fraction: 0.5", "frozen_fractoin: 0.5"))
    result = _study(card, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "'frozen_fractoin' is no field of a recipe" in result.stderr
    assert "Write frozen_fraction" in result.stderr
    assert not (tmp_path / "out").exists()


def test_out_that_is_a_file_is_refused(card: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    result = _study(card, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
