"""Tasks on this disk: the bundled ones as they ship, and mirrors of any making."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from metaft.errors import TaskError
from metaft.tasks.card import cards_folder, load_cards
from metaft.tasks.load import load_task
from metaft.tasks.mirror import bundled_folder, mirror_folder, read_on_disk
from metaft.tasks.split import content_keys

BUNDLED = (
    *("convention_2012_party", "fashion_mnist", "optdigits", "sms_spam", "sotu_party"),
    *("uci_sentences_amazon", "uci_sentences_imdb", "uci_sentences_yelp", "vader_amazon"),
    *("wordnet_noun_category", "wordnet_verb_category"),
)
MEBIBYTE = 1 << 20


def _mirror(folder: Path, name: str = "text/trec", **splits: object) -> Path:
    (folder / name).mkdir(parents=True)
    for split, columns in splits.items():
        parquet.write_table(pa.table(columns), folder / name / f"{split}.parquet")
    return folder


def _rows(count: int, first: int = 0) -> dict[str, list[object]]:
    rows = range(first, first + count)
    return {"text": [f"question {row}" for row in rows], "label": [row % 6 for row in rows]}


def test_exactly_the_tasks_that_may_be_passed_on_are_bundled() -> None:
    cards = load_cards()
    assert tuple(name for name, card in cards.items() if card.bundled) == BUNDLED
    folders = {path.name for path in (cards_folder() / "data").iterdir() if path.is_dir()}
    assert folders == set(BUNDLED)
    files = [path for path in (cards_folder() / "data").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 6 * MEBIBYTE


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_task_loads_without_mirror_and_network(name: str) -> None:
    task = load_task(name, offline=True)
    card = load_cards()[name]
    assert task.source == "bundled"
    assert (task.name, task.kind, task.metric) == (name, card.kind, card.metric)
    assert len(task.train) + len(task.validation) <= 1000
    assert 100 <= len(task.test) <= 500
    keys = [set(content_keys(split)) for split in (task.train, task.validation, task.test)]
    assert sum(map(len, keys)) == len(set.union(*keys))
    if not task.is_regression:
        assert set(task.train.labels) == set(range(len(task.label_names)))
    assert card.licence


def test_the_cut_depends_on_the_seed_and_the_fingerprint_on_the_rows() -> None:
    first, again, other = (load_task("sms_spam", seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.test.texts == other.test.texts


def test_the_bundle_goes_before_the_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = _mirror(tmp_path, "text/sms_spam", train={"text": ["a"], "label": [0]})
    monkeypatch.setenv("METAFT_DATA", str(mirror))
    card = load_cards()["sms_spam"]
    assert mirror_folder(card) == mirror / "text/sms_spam"
    raw = read_on_disk(card)
    assert raw is not None
    assert raw.source == "bundled"


def test_a_task_of_the_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = _mirror(tmp_path, train=_rows(60), test=_rows(12, first=100))
    monkeypatch.setenv("METAFT_DATA", str(mirror))
    task = load_task("trec", offline=True)
    assert task.source == "mirror"
    assert [len(task.train), len(task.validation), len(task.test)] == [48, 12, 12]
    assert task.label_names == ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
    assert task.relatives == {"trec_fine"}
    assert task.notices == ("no validation split: 12 rows of train are cut for it",)


def test_a_card_allows_a_class_without_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"text": [f"q {row}" for row in range(10)], "label": [0, 1] * 4 + [2, 1]}
    monkeypatch.setenv("METAFT_DATA", str(_mirror(tmp_path, train=rows)))
    task = load_task("trec", offline=True)
    assert task.num_outputs == 6
    assert any("classes have no training row" in notice for notice in task.notices)


def test_neither_bundle_nor_mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    card = load_cards()["wikigold"]
    assert read_on_disk(card) is None
    monkeypatch.setenv("METAFT_DATA", str(tmp_path))
    assert read_on_disk(card) is None
    assert bundled_folder(card) is None


def test_a_task_that_lies_nowhere_says_what_to_set() -> None:
    with pytest.raises(TaskError, match=r"METAFT_DATA names no mirror that holds text/mpqa.*Set"):
        load_task("mpqa")


def test_a_damaged_mirror_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = _mirror(tmp_path, test=_rows(12))
    monkeypatch.setenv("METAFT_DATA", str(mirror))
    with pytest.raises(TaskError, match=r"lacks .*train\.parquet"):
        load_task("trec")
    (mirror / "text/trec/train.parquet").write_bytes(b"PAR1")
    with pytest.raises(TaskError, match=r"'trec' in .* cannot be read"):
        load_task("trec")


def test_labels_outside_the_card_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {**_rows(12), "label": [6] * 12}
    monkeypatch.setenv("METAFT_DATA", str(_mirror(tmp_path, train=rows)))
    with pytest.raises(TaskError, match="has the label 6; allowed are 0 to 5"):
        load_task("trec")


@pytest.mark.mirror
@pytest.mark.parametrize("name", ["ag_news", "glue/sst2", "glue/stsb", "trec", "cifar10"])
def test_tasks_of_the_real_mirror(name: str) -> None:
    task = load_task(name, offline=True)
    assert task.source == "mirror"
    assert min(len(task.train), len(task.validation), len(task.test)) >= 500
    if not task.is_regression:
        assert len(np.unique(task.test.labels)) == task.num_outputs


@pytest.mark.mirror
def test_every_card_of_the_real_mirror_finds_its_folder() -> None:
    for card in load_cards().values():
        if card.mirror_folder:
            assert mirror_folder(card) is not None, card.name
