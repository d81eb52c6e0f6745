"""What a command is about: the options that name a dataset, and what comes of them."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from metaft.cli.dataset import DatasetSource, dataset_options
from metaft.tasks.columns import RECOGNISED, ColumnNames


def test_a_path_goes_before_a_task_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command
    @dataset_options
    def command(source: DatasetSource) -> None:
        click.echo(source.name)

    def given(dataset: str) -> str:
        return CliRunner().invoke(command, ["--dataset", dataset]).output.strip()

    monkeypatch.chdir(tmp_path)
    assert given("sms_spam") == "sms_spam"
    for name in ("sms_spam", "reviews.csv"):
        (tmp_path / name).touch()
    assert given("sms_spam") == "./sms_spam"
    assert given("reviews.csv") == "reviews.csv"


def test_dataset_options_are_shown_in_their_order() -> None:
    @dataset_options
    def nothing(**_: object) -> None: ...

    names = [parameter.name for parameter in click.command(nothing).params]
    assert names == ["dataset", "text_column", "text_pair_column", "label_column", "offline"]


def test_columns_and_the_hub_arrive_in_the_source() -> None:
    seen: list[DatasetSource] = []

    @click.command
    @dataset_options
    def command(source: DatasetSource) -> None:
        seen.append(source)

    call = ["--dataset", "reviews.csv", "--text-column", "said", "--label-column", "liked"]
    assert CliRunner().invoke(command, call).exit_code == 0
    (source,) = seen
    assert source == DatasetSource("reviews.csv", "said", None, "liked", offline=False)
    assert source.columns == ColumnNames(text="said", label="liked")


def test_no_column_named_is_all_recognised() -> None:
    assert DatasetSource("sms_spam").columns == RECOGNISED


def test_what_was_changed_of_the_rows_goes_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"text {at},{'good' if at % 2 else 'bad'}\n" for at in range(40))
    file = tmp_path / "reviews.csv"
    file.write_text("said,liked\n" + rows)
    task = DatasetSource(str(file), "said", label_column="liked").load()
    printed = capsys.readouterr()
    assert task.label_names == ("bad", "good")
    assert "test" in " ".join(task.notices), "a test split was cut"
    assert all(notice.split()[0] in printed.err for notice in task.notices)
    assert not printed.out
