"""Durations, sizes and shared options."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from metaft.cli import group, options
from metaft.cli.dataset import DatasetSource
from metaft.errors import UserError
from metaft.tasks.columns import ColumnNames


@pytest.mark.parametrize(
    ("text", "mib"),
    [("4GiB", 4096), ("512MiB", 512), ("1.5gib", 1536), ("2048 KiB", 2), ("1GB", 1e9 / 2**20)],
)
def test_sizes(text: str, mib: float) -> None:
    assert options.parse_size(text) == pytest.approx(mib)


@pytest.mark.parametrize("text", ["", "4", "GiB", "0MiB", "-1GiB", "4 gigs"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UserError, match="is no amount of memory"):
        options.parse_size(text)


def test_short_names_of_backbones_are_resolved_where_they_enter() -> None:
    @click.command
    @options.backbone_option
    def command(backbone: str | None) -> None:
        click.echo(repr(backbone))

    for given, known in (
        (["--backbone", "minilm"], "sentence-transformers/all-MiniLM-L6-v2"),
        (["--backbone", "owner/name"], "owner/name"),
        ([], None),
    ):
        assert CliRunner().invoke(command, given).output.strip() == repr(known)


def test_the_usual_backbone_is_that_of_the_modality() -> None:
    assert options.usual_backbone(["sms_spam", "imdb"]).endswith("MiniLM-L6-v2")
    assert options.usual_backbone(["optdigits"]) == "timm/mobilenetv2_100.tv_in1k"
    with pytest.raises(UserError, match=r"images \(optdigits \.\.\.\) and texts \(sms_spam"):
        options.usual_backbone(["optdigits", "sms_spam"])


@pytest.mark.parametrize("name", ["suggest", "search"])
def test_a_recipe_that_cannot_be_written_is_refused_before_any_work(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    call = [name, "--dataset", "no such dataset", "--out", f"{tmp_path / 'file' / 'best.yaml'}"]
    done = CliRunner().invoke(group, call)
    assert done.exit_code == 2
    assert "which cannot be written" in done.output


def test_a_path_goes_before_a_task_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command
    @options.dataset_options
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
    @options.dataset_options
    def nothing(**_: object) -> None: ...

    names = [parameter.name for parameter in click.command(nothing).params]
    assert names == ["dataset", "text_column", "text_pair_column", "label_column", "offline"]


def test_columns_and_the_hub_arrive_in_the_source() -> None:
    seen: list[DatasetSource] = []

    @click.command
    @options.dataset_options
    def command(source: DatasetSource) -> None:
        seen.append(source)

    call = ["--dataset", "reviews.csv", "--text-column", "said", "--label-column", "liked"]
    assert CliRunner().invoke(command, call).exit_code == 0
    (source,) = seen
    assert source == DatasetSource("reviews.csv", "said", None, "liked", offline=False)
    assert source.columns == ColumnNames(text="said", label="liked")


def test_offline_is_known_before_the_hub_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    seen = []

    @click.command()
    @options.offline_option
    def command(offline: bool) -> None:
        seen.append((offline, os.environ["HF_HUB_OFFLINE"]))

    runner = CliRunner()
    runner.invoke(command, [])
    runner.invoke(command, ["--offline"])
    assert seen == [(False, "0"), (True, "1")]


def test_time_limit_arrives_in_seconds() -> None:
    @click.command()
    @options.time_limit_option
    def command(time_limit_seconds: float | None) -> None:
        click.echo(repr(time_limit_seconds))

    assert CliRunner().invoke(command, ["--time-limit", "30m"]).stdout == "1800.0\n"
    assert CliRunner().invoke(command, []).stdout == "None\n"


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [([], None), (["0"], 0), (["1.5MiB"], 3 << 19), (["0.0001KiB"], 1)],
)
def test_cache_limit_arrives_in_bytes(arguments: list[str], limit: int | None) -> None:
    @click.command()
    @options.cache_limit_option
    def command(cache_limit_bytes: int | None) -> None:
        click.echo(repr(cache_limit_bytes))

    given = [word for value in arguments for word in ("--cache-limit", value)]
    assert CliRunner().invoke(command, given).stdout == f"{limit!r}\n"
