from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from metaft.errors import PriorError
from metaft.prior import prior as prior_module
from metaft.prior.prior import Prior, newest_prior, shipped_priors


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "prior.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def shipped(own_prior: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the priors beside `own_prior` be the shipped ones."""
    monkeypatch.setattr(prior_module, "shipped_folder", lambda name: own_prior.parent)
    return own_prior.parent


def test_round_trip(own_prior: Path) -> None:
    prior = Prior.load(own_prior)
    assert prior.name == "world-v0"
    assert prior.manifest.label == {
        "name": "world-v0",
        "version": "0.1.0",
        "tasks": 4,
        "traces": 24,
    }
    assert len(prior.read_traces()) == 24
    assert {row.task for row in prior.fitted.described} == {
        "task00",
        "task01",
        "task02",
        "task03",
        "target",
    }


def test_a_prior_is_data(own_prior: Path) -> None:
    assert {path.suffix for path in own_prior.iterdir()} <= {
        ".json",
        ".parquet",
        ".md",
        ".safetensors",
    }
    for path in own_prior.iterdir():
        assert not path.read_bytes().startswith(b"\x80")  # how every pickle begins


def test_tables_are_readable_with_pandas_alone(own_prior: Path) -> None:
    import pandas

    traces = pandas.read_parquet(own_prior / "traces.parquet")
    features = pandas.read_parquet(own_prior / "features.parquet")
    assert len(traces) == 24
    assert {"task", "backbone", "train_rows", "probe_best"} <= set(features.columns)


def test_names_are_shipped_priors(shipped: Path) -> None:
    assert Prior.load("world-v0").folder == shipped / "world-v0"
    assert [prior.name for prior in shipped_priors()] == ["world-v0"]
    assert Prior.load().name == "world-v0"


def test_the_newest_that_knows_the_backbone(shipped: Path, world_prior: Path) -> None:
    import shutil

    newer = Path(shutil.copytree(world_prior, shipped / "newer"))
    other = {"identity": "other/backbone", "fingerprint": "0" * 16}
    _edit(newer, name="newer", created_at="2999-01-01T00:00:00+00:00", backbones=[other])
    assert newest_prior("text").name == "newer"
    assert newest_prior("text", "tiny/bert").name == "world-v0"
    assert newest_prior("text", "never/seen").name == "newer"
    with pytest.raises(PriorError, match="no prior for images"):
        newest_prior("image")


def test_the_sort_counts_for_more_than_the_backbone(shipped: Path, world_prior: Path) -> None:
    import shutil

    tagged = Path(shutil.copytree(world_prior, shipped / "tagged"))
    other = {"identity": "other/backbone", "fingerprint": "0" * 16}
    tasks = [{**task, "kind": "ner"} for task in Prior.load("world-v0").manifest["tasks"]]
    _edit(tagged, name="tagged", tasks=tasks, backbones=[other])
    _edit(tagged, created_at="2999-01-01T00:00:00+00:00")
    assert newest_prior("text", "tiny/bert", "ner").name == "tagged"
    assert newest_prior("text", "other/backbone", "pair_classification").name == "world-v0"
    assert newest_prior("text", "tiny/bert", "qa").name == "world-v0"  # nobody knows spans
    assert newest_prior("text").name == "world-v0"


def test_a_wrong_name(shipped: Path) -> None:
    with pytest.raises(PriorError, match=r"'nonsense' is neither .* shipped are world-v0"):
        Prior.load("nonsense")


def test_a_folder_that_is_no_prior(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match=r"no readable prior\.json"):
        Prior.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 99}, "schema 99; this version of metaft reads up to 2"),
        ({"schema": "one"}, "has no schema"),
        ({"tasks": "many"}, "tasks: 'many'; it must be of type list"),
        ({"files": {}}, r"does not name the file traces\.parquet"),
    ],
)
def test_a_broken_manifest(own_prior: Path, changes: dict, message: str) -> None:
    _edit(own_prior, **changes)
    with pytest.raises(PriorError, match=message):
        Prior.load(own_prior)


def test_json_that_is_none(own_prior: Path) -> None:
    (own_prior / "prior.json").write_text("{")
    with pytest.raises(PriorError, match=r"no readable prior\.json"):
        Prior.load(own_prior)


def test_files_that_are_missing_or_changed(own_prior: Path) -> None:
    with (own_prior / "features.parquet").open("ab") as file:
        file.write(b" ")
    with pytest.raises(PriorError, match=r"features\.parquet is not the file"):
        Prior.load(own_prior)
    (own_prior / "features.parquet").unlink()
    with pytest.raises(PriorError, match="lacks its file"):
        Prior.load(own_prior)


def test_a_prior_without_screening_has_none(world_prior: Path) -> None:
    prior = Prior.load(world_prior)
    assert prior.manifest.screening is None
    assert "screening" not in prior.manifest.values
    assert prior.read_screening() == []


def test_a_screening_is_read(screened_prior: Path) -> None:
    prior = Prior.load(screened_prior)
    screening = prior.manifest.screening
    assert screening is not None
    assert screening.adopted is not None
    assert screening.adopted.name == "label_smoothing=0.1"
    assert len(prior.read_screening()) == screening.traces == 60
    assert prior.manifest.has_seen("task11", "another"), "it was screened, though not trained on"


def test_a_changed_screening_file_is_refused(screened_prior: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(screened_prior, tmp_path / "own"))
    (own / "screening.parquet").write_bytes(b"changed")
    with pytest.raises(PriorError, match=r"screening\.parquet is not the file"):
        Prior.load(own)


def test_a_newer_screening_is_refused(screened_prior: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(screened_prior, tmp_path / "own"))
    values = json.loads((own / "prior.json").read_text())
    values["screening"]["schema"] += 1
    (own / "prior.json").write_text(json.dumps(values))
    with pytest.raises(PriorError, match="its schema is 2, this version of metaft reads 1"):
        _ = Prior.load(own).manifest.screening
