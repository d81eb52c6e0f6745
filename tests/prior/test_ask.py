from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from metaft.errors import BackboneError, PriorError, TaskError
from metaft.prior import prior as prior_module
from metaft.prior.ask import suggest_for
from metaft.tasks.columns import ColumnNames


@pytest.fixture
def shipped(own_prior: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(prior_module, "shipped_folder", lambda name: own_prior.parent)
    return own_prior


def test_shipped_features_need_no_data(shipped: Path) -> None:
    answer = suggest_for("target")
    assert answer.backbone == "tiny/bert"  # the only one that the prior knows
    assert answer.train_rows == 512


def test_rows_scale_the_time(shipped: Path) -> None:
    small, large = suggest_for("target", rows=512), suggest_for("target", rows=600)
    assert large.train_rows == 600
    assert large.predicted.train_seconds > small.predicted.train_seconds


def test_a_path_comes_before_a_name(shipped: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("target").mkdir()
    with pytest.raises(TaskError):  # an empty folder is no dataset
        suggest_for("target", offline=True)


def test_a_sample_of_a_named_task_is_that_task(shipped: Path, tiny_task) -> None:
    sample = dataclasses.replace(tiny_task(rows=16, name="target"), source="mirror")
    assert suggest_for("target", task=sample, rows=16).train_rows == 16


def test_the_rows_that_are_scored_take_their_time(shipped: Path, tiny_task) -> None:
    whole = dataclasses.replace(tiny_task(rows=16, name="target"), source="mirror")
    few, none = (
        dataclasses.replace(whole, validation=whole.validation.take(rows)) for rows in ([0, 1], [])
    )
    seconds = [
        suggest_for("target", task=task, rows=512).predicted.train_seconds
        for task in (None, few, none)
    ]
    assert sorted(seconds, reverse=True) == seconds  # without the rows: as a recording has
    assert len(set(seconds)) == 3
    named = suggest_for("target", rows=512, validation_rows=2).predicted.train_seconds
    assert named == seconds[1]  # whoever scores other rows than metaft finetune says so


def test_features_of_the_usual_columns_do_not_answer_for_other_columns(
    shipped: Path, tiny_task
) -> None:
    task = dataclasses.replace(tiny_task(rows=16, name="target"), source="hub")
    assert suggest_for("target", task=task, columns=ColumnNames()).train_rows == 512
    with pytest.raises(BackboneError, match="tiny/bert"):  # It is to look at the rows.
        suggest_for("target", task=task, columns=ColumnNames(text="title"), offline=True)


def test_an_older_prior_may_know_the_dataset(shipped: Path) -> None:
    newer = Path(shutil.copytree(shipped, shipped.parent / "newer"))
    text = (newer / "prior.json").read_text()
    text = text.replace('"target"', '"another"').replace('"name": "world-v0"', '"name": "newer"')
    (newer / "prior.json").write_text(text.replace('"created_at": "20', '"created_at": "29'))
    assert suggest_for("target").prior["name"] == "world-v0"


def test_unknown_prior(shipped: Path) -> None:
    with pytest.raises(PriorError, match="'nonsense' is neither a folder nor a shipped prior"):
        suggest_for("target", prior="nonsense")


def test_unknown_dataset(shipped: Path) -> None:
    with pytest.raises(TaskError):
        suggest_for("no_such_dataset_anywhere", offline=True)
