"""The dataset that a command is about: its columns and its rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaft.cli.dataset import DatasetSource
from metaft.tasks.columns import RECOGNISED


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
