from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from metaft.cli import group

if TYPE_CHECKING:
    from tests.cli.conftest import Traced


def _augment(traced: Traced, *options: object) -> Result:
    arguments = ["augment", "--dataset", traced.new_file, "--backbone", traced.backbone, "--rows",
                 16, "--offline", *options]  # fmt: skip
    return CliRunner().invoke(group, [str(argument) for argument in arguments])


def test_a_sheet_and_its_numbers(traced: Traced, tmp_path: Path) -> None:
    out = tmp_path / "sheet.html"
    done = _augment(traced, "--out", out, "--augmentation", "swap", "--shown", 2, "--format",
                    "json")  # fmt: skip
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert [effect["method"] for effect in answer["effects"]] == ["none", "swap"]
    assert answer["rows"] == 16
    assert "moved" in out.read_text()


def test_a_table_has_a_line_per_method(traced: Traced, tmp_path: Path) -> None:
    done = _augment(traced, "--out", tmp_path / "sheet.png")
    assert done.exit_code == 0, done.output
    for method in ("none", "synonyms", "insertion", "swap", "deletion", "together"):
        assert method in done.stdout


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--out", "sheet.pdf"], "end in .png or .html"),
        (["--out", "sheet.png", "--augmentation", "synonym"], "Write synonyms"),
        (["--out", "sheet.png", "--augmentation", "flip"], "allowed there are synonyms"),
        (["--out", "sheet.png", "--language-model", "nothing/such"], "cannot be loaded"),
        (
            ["--out", "sheet.png", "--dataset", "optdigits", "--language-model", "nothing/such"],
            "--language-model reads texts",
        ),
    ],
)
def test_wrong_input_is_one_message(traced: Traced, options: list[str], problem: str) -> None:
    done = _augment(traced, *options)
    assert done.exit_code == 2
    assert problem in done.stderr
