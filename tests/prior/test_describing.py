from __future__ import annotations

from pathlib import Path

import pytest

from metaft.errors import PriorError
from metaft.features import trial_steps
from metaft.features.extract import FEATURES
from metaft.files import user_cache_folder
from metaft.prior import describing
from metaft.prior.described import (
    Described,
    describe_blocks,
    described_from_frame,
    frame_from_described,
)
from metaft.prior.describing import describe, target_blocks
from metaft.prior.table import Block


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METAFT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def extractions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    extract = describing.extract_features

    def counted(task, backbone, *, train_rows):
        names.append(task.name)
        return extract(task, backbone, train_rows=train_rows)

    monkeypatch.setattr(describing, "extract_features", counted)
    return names


def test_features_are_extracted_once(home, extractions, tiny_task, tiny_text_backbone) -> None:
    first = describe(tiny_task(rows=24), tiny_text_backbone(), 512)
    again = describe(tiny_task(rows=24), tiny_text_backbone(), 24)
    assert len(extractions) == 1
    assert first.train_rows == again.train_rows == 24
    assert list(first.values.values()) == pytest.approx(list(again.values.values()), nan_ok=True)
    describe(tiny_task(rows=24, seed=1), tiny_text_backbone(), 24)
    describe(tiny_task(rows=24), tiny_text_backbone(seed=1), 24)
    describe(tiny_task(rows=24), tiny_text_backbone(), 16)
    assert len(extractions) == 4


def test_trial_steps_are_taken_once_and_only_where_asked(
    home, extractions, tiny_task, tiny_text_backbone, monkeypatch
) -> None:
    taken: list[str] = []
    take_trial = trial_steps.take_trial

    def counted(task, backbone, *, train_rows):
        taken.append(task.name)
        return take_trial(task, backbone, train_rows=train_rows)

    monkeypatch.setattr(trial_steps, "take_trial", counted)
    task, backbone = tiny_task(rows=24), tiny_text_backbone()
    assert not describe(task, backbone, 24).is_probed
    first = describe(task, backbone, 24, with_trial=True)
    again = describe(task, backbone, 24, with_trial=True)
    assert first.is_probed
    assert (len(taken), len(extractions)) == (1, 1)
    assert list(first.values) == list(again.values)
    assert list(first.values.values()) == pytest.approx(list(again.values.values()), nan_ok=True)
    assert not describe(task, backbone, 24).is_probed


def test_a_broken_cache_is_written_anew(home, extractions, tiny_task, tiny_text_backbone) -> None:
    describe(tiny_task(rows=16), tiny_text_backbone(), 16)
    (cached,) = (user_cache_folder() / "features").iterdir()
    cached.write_text('{"probe_best": "high"}')
    describe(tiny_task(rows=16), tiny_text_backbone(), 16)
    describe(tiny_task(rows=16), tiny_text_backbone(), 16)
    assert len(extractions) == 2


def test_targets_are_described_at_every_recorded_size() -> None:
    blocks = [Block("a", "bert", 512), Block("b", "bert", 480), Block("c", "bert", 128)]
    assert target_blocks(["t"], blocks) == [Block("t", "bert", 128), Block("t", "bert", 512)]


def test_tables_round_trip(make_world) -> None:
    rows = make_world(3, recipes=2).described
    again = described_from_frame(frame_from_described(rows))
    assert [row.block for row in again] == [row.block for row in rows]
    for one, other in zip(rows, again, strict=True):
        assert [one.values[n] for n in FEATURES] == pytest.approx(
            [other.values[n] for n in FEATURES], nan_ok=True
        )


def test_tables_hold_trial_steps_where_some_were_taken(make_world) -> None:
    rows = make_world(3, recipes=2, trials_matter=True).described
    again = described_from_frame(frame_from_described([rows[0], rows[1].without_trial()]))
    assert [row.is_probed for row in again] == [True, False]
    assert again[0].values["trial_low_share"] == rows[0].values["trial_low_share"]


def test_a_table_of_something_else(make_world) -> None:
    frame = frame_from_described(make_world(2, recipes=2).described).drop(columns="backbone")
    with pytest.raises(PriorError, match="no column 'backbone'"):
        described_from_frame(frame)


def test_a_block_without_features(make_world) -> None:
    rows: list[Described] = make_world(2, recipes=2).described
    blocks = [row.block for row in rows]
    assert describe_blocks(blocks[::-1], rows) == rows[::-1]
    with pytest.raises(PriorError, match="but no features of it"):
        describe_blocks(blocks, rows[:1])
