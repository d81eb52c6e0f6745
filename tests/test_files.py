"""Where files lie, and that they appear whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from metaft import files
from metaft.errors import UserError


def test_shipped_folders_are_found_in_a_checkout() -> None:
    assert (files.shipped_folder("tasks") / "sms_spam.yaml").is_file()


def test_shipped_folders_of_a_wheel_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shipped" / "tasks").mkdir(parents=True)
    monkeypatch.setattr(files, "_PACKAGE", tmp_path)
    assert files.shipped_folder("tasks") == tmp_path / "shipped" / "tasks"


def test_home_moves_data_and_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFT_HOME", str(tmp_path))
    assert files.user_data_folder() == tmp_path
    assert files.user_cache_folder() == tmp_path / "cache"


def test_without_home_the_platform_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METAFT_HOME")
    assert files.user_data_folder().name == "metaft"
    assert files.user_cache_folder() != files.user_data_folder()


def test_written_beside_makes_parents_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    with files.written_beside(target) as beside:
        beside.write_text("whole")
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]
    assert target.read_text() == "whole"


def test_written_beside_keeps_the_old_file_on_failure(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), files.written_beside(target) as beside:  # noqa: PT012
        beside.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
    assert target.read_text() == "old"


def test_written_beside_replaces_a_folder_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "stale").touch()
    with files.written_beside(target) as beside:
        beside.mkdir()
        (beside / "fresh").touch()
    assert [path.name for path in target.iterdir()] == ["fresh"]


def test_what_could_not_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "out", tmp_path / "file" / "new" / "out"):
        with pytest.raises(UserError, match="file takes no files"):
            files.refuse_unwritable(out)
    for out in (tmp_path / "out", tmp_path / "new" / "out", tmp_path / "file", tmp_path):
        files.refuse_unwritable(out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "link"
    elsewhere.mkdir()
    link.symlink_to(elsewhere)
    with files.written_beside(link) as beside:
        beside.mkdir()
        (beside / "fresh").touch()
    assert link.is_symlink()
    assert [path.name for path in elsewhere.iterdir()] == ["fresh"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "link"]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").touch()
    rename = Path.replace

    def refuse(path: Path, to: Path) -> Path:
        if to == target and not path.name.endswith(".old"):
            raise OSError("no")
        return rename(path, to)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="no"), files.written_beside(target) as beside:
        beside.mkdir()
    assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_working_folder_is_not_replaced(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (".", str(tmp_path), "../" + tmp_path.name):
        with pytest.raises(UserError, match="the working folder"):
            files.refuse_working_folder(Path(name))
    files.refuse_working_folder(Path("in-it"))


def test_written_beside_removes_a_half_written_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), files.written_beside(tmp_path / "folder") as beside:  # noqa: PT012
        beside.mkdir()
        (beside / "half").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, files._CHUNK_BYTES, files._CHUNK_BYTES + 1])
def test_sha256_of_matches_hashlib(tmp_path: Path, size: int) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(b"m" * size)
    assert files.sha256_of(path) == hashlib.sha256(b"m" * size).hexdigest()
