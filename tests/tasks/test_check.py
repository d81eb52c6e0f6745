"""What checking the cards finds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from metaft.tasks.card import load_cards
from metaft.tasks.check import CardReport, check_cards, sources_of


def _check(*names: str, **options: Any) -> list[CardReport]:
    return check_cards([load_cards()[name] for name in names], **options)


def _write(folder: Path, **columns: list[object]) -> None:
    folder.mkdir(parents=True)
    parquet.write_table(pa.table(columns), folder / "train.parquet")


def test_a_bundled_task() -> None:
    heard: list[CardReport] = []
    (report,) = _check("sms_spam", offline=True, on_report=heard.append)
    assert report.status == "ok"
    assert report.source == "bundled"
    assert report.rows == {"train": 800, "validation": 200, "test": 500}
    assert report.classes == 2
    assert report.majority_share == pytest.approx(0.87, abs=0.02)
    assert heard == [report]


def test_a_regression_has_no_majority() -> None:
    (report,) = _check("vader_amazon", offline=True)
    assert report.classes == 0
    assert report.majority_share is None


def test_what_cannot_be_reached_is_no_problem() -> None:
    reports = _check("ontonotes", "wikigold")
    assert [report.status for report in reports] == ["unreachable", "unreachable"]
    assert reports[0].problem == "the hub may not be asked"
    assert "METAFT_DATA names no mirror that holds text/wikigold" in reports[1].problem


def test_tagged_words_are_checked_as_they_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAFT_DATA", str(tmp_path))
    words = [[f"w{number}", "x"] for number in range(20)]
    _write(
        tmp_path / "text/wikigold", tokens=words, ner_tags=[[0, number % 2] for number in range(20)]
    )
    _write(tmp_path / "text/btc", tokens=words)
    good, bad = _check("wikigold", "btc")
    assert good.status == "ok"
    assert sum(good.rows.values()) == 20
    assert good.majority_share == pytest.approx(0.75, abs=0.05)
    assert bad.status == "problem"
    assert "has no column of tags" in bad.problem


def test_data_that_is_not_as_the_card_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFT_DATA", str(tmp_path))
    _write(tmp_path / "text/trec", text=[f"t {n}" for n in range(9)], label=list(range(9)))
    (report,) = _check("trec")
    assert report.status == "problem"
    assert "has the label 8; allowed are 0 to 5" in report.problem


def test_a_hub_that_answers_and_one_that_does_not(
    monkeypatch: pytest.MonkeyPatch, serving_hub: Any
) -> None:
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serving_hub({("lhoestq/conll2003", "main"): {}}) as (endpoint, asked):
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        found, missing = _check("conll2003", "squad")
    assert (found.status, found.source) == ("ok", "hub")
    assert "lhoestq/conll2003 at main is commit" in found.notices[0]
    assert missing.status == "problem"
    assert "no dataset 'rajpurkar/squad'" in missing.problem
    reports = _check("conll2003", "squad")  # nobody listens any more
    assert {report.problem for report in reports} == {"the hub does not answer"}
    assert len([path for path in asked if "dataset" in path]) == 2


def test_where_a_task_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = load_cards()
    assert sources_of(cards["sms_spam"]) == ("bundled", "hub")
    assert sources_of(cards["mpqa"]) == ()
    monkeypatch.setenv("METAFT_DATA", str(tmp_path))
    _write(tmp_path / "text/mpqa", text=["a"])
    assert sources_of(cards["mpqa"]) == ("mirror",)


def test_a_report_is_plain_values() -> None:
    (report,) = _check("optdigits", offline=True)
    assert dataclasses.asdict(report)["rows"]["test"] == 350
