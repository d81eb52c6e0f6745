from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from metaft.errors import MappingError
from metaft.traces.mapping import Column, OutsideMapping, ScoreColumns
from metaft.traces.rows import Row

_ROOT = Path(__file__).resolve().parents[2]
_EXAMPLE = yaml.safe_load((_ROOT / "scripts" / "deberta.yaml").read_text())


def _row(**cells: Any) -> Row:
    return Row("runs.csv", 1, cells)


def _changed(path: str, value: Any) -> dict[str, Any]:
    """Return the example with one entry changed; `recipe.epochs` is inside `recipe`."""
    values = copy.deepcopy(_EXAMPLE)
    *folders, name = path.split(".")
    inner = values
    for folder in folders:
        inner = inner[folder]
    if value is None:
        del inner[name]
    else:
        inner[name] = value
    return values


def test_the_example_is_a_mapping() -> None:
    mapping = OutsideMapping.load(_ROOT / "scripts" / "deberta.yaml")
    assert mapping.source == "nicholaslourie/opda, CC BY-SA 4.0"
    assert mapping.facts["train_rows"] == 392702
    assert mapping.recipe["warmup_fraction"] == Column(
        "warmup_steps", divided_by="total_model_steps"
    )
    assert mapping.test == ScoreColumns(curve="learning_curves.mismatched", end="total_model_steps")


def test_a_cell_is_converted_by_numbers_and_columns() -> None:
    row = _row(steps=50, total=200, points=87.5, state="crashed", flag=True)
    assert Column("steps", divided_by="total").read(row) == 0.25
    assert Column("steps", times=2).read(row) == 100
    assert Column("points", divided_by=100).read(row) == 0.875
    assert Column("state", values={"crashed": "failed"}).read(row) == "failed"
    assert Column("flag", values={"True": "linear"}).read(row) == "linear"


def test_conversions_that_cannot_be_say_so() -> None:
    row = _row(steps=50, total=0, state="lost")
    with pytest.raises(MappingError, match="divided by total, which is 0"):
        Column("steps", divided_by="total").read(row)
    with pytest.raises(MappingError, match=r"state is 'lost'; the mapping has values for done"):
        Column("state", values={"done": "ok"}).read(row)


def test_a_curve_by_steps_is_read_at_the_ends_of_epochs() -> None:
    # 100 steps are an epoch: 95 is near the end of the first, 150 is in the midst of the second.
    row = _row(curve=[[50, 0.1], [95, 0.2], [150, 0.3], [210, 0.4], [280, 0.5], [300, 0.6]])
    assert ScoreColumns(curve="curve", end=300).read(row, 3) == {1: 0.2, 3: 0.6}


def test_a_score_at_the_very_end_of_an_epoch_is_that_epochs() -> None:
    third = 7012 / 3
    row = _row(curve=[[third, 0.1], [2 * third, 0.2], [7012, 0.3]], total=7012)
    assert ScoreColumns(curve="curve", end="total").read(row, 3) == {1: 0.1, 2: 0.2, 3: 0.3}


def test_the_other_forms_of_scores() -> None:
    row = _row(final=80.0, a=0.5, b=None, c=0.7, each=[0.4, None, 0.6])
    assert ScoreColumns(column="final", divided_by=100).read(row, 3) == {3: 0.8}
    assert ScoreColumns(columns=("a", "b", "c")).read(row, 3) == {1: 0.5, 3: 0.7}
    assert ScoreColumns(curve="each").read(row, 3) == {1: 0.4, 3: 0.6}
    assert ScoreColumns(column="b").read(row, 3) == {}
    positions = _row(curve=[[1, 0.5], [2, 0.6]])
    assert ScoreColumns(curve="curve").read(positions, 2) == {1: 0.5, 2: 0.6}


def test_a_run_that_ended_before_its_first_step_has_no_scores() -> None:
    columns = ScoreColumns(curve="curve", end="steps")
    assert columns.read(_row(curve=[], steps=0), 3) == {}
    with pytest.raises(MappingError, match="steps is 0, and the curve has scores"):
        columns.read(_row(curve=[[1, 0.5]], steps=0), 3)


def test_scores_beyond_the_budget_are_refused() -> None:
    row = _row(a=0.1, b=0.2, curve=[[400, 0.5]])
    with pytest.raises(MappingError, match="score after epoch 2, but the recipe has 1"):
        ScoreColumns(columns=("a", "b")).read(row, 1)
    with pytest.raises(MappingError, match="score after epoch 4"):
        ScoreColumns(curve="curve", end=100).read(row, 1)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("source", None, "no entry 'source'"),
        ("scores.test", None, "no entry 'test'.*nothing was chosen by"),
        ("recipe.schedule", None, "recipe has no entry 'schedule'; required are learning_rate"),
        ("recipe.lr", 1e-4, "recipe has the entry 'lr'; allowed are learning_rate"),
        ("recipe.seed", 1, "names the seed"),
        ("metrics", "accuracy", "the entry 'metrics'; allowed are source"),
        ("recipe", "plain", "recipe is 'plain', not entries"),
        ("kind", ["a"], "kind is a list"),
        ("recipe.epochs", {"columns": ["a"]}, "the entry 'columns'; allowed are column"),
        ("recipe.epochs", {"column": 3}, "column is 3; allowed is the name"),
        ("recipe.epochs", {"column": "a", "times": True}, "times is True; allowed is a number"),
        ("recipe.epochs", {"column": "a", "values": {}}, "values is {}, not entries"),
        ("scores.test", {"column": "a", "curve": "b"}, "column, curve; allowed is exactly one"),
        ("scores.test", {"end": 3}, "has end; allowed is exactly one"),
        ("scores.test", {"column": "a", "end": 3}, "an end, but no curve"),
        ("scores.test", {"columns": "a"}, "columns is 'a'; allowed is a list"),
    ],
)
def test_wrong_entries_are_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(MappingError, match=message):
        OutsideMapping.from_mapping(_changed(path, value))


@pytest.mark.parametrize("text", ["", "- a", "a: [", "text"])
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(MappingError, match=r"m\.yaml"):
        OutsideMapping.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"no\.yaml cannot be read"):
        OutsideMapping.load(tmp_path / "no.yaml")


def test_the_document_shows_the_example() -> None:
    example = (_ROOT / "scripts" / "deberta.yaml").read_text()
    assert f"```yaml\n{example}```" in (_ROOT / "docs" / "outside.md").read_text()
