from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from metaft.errors import PackError
from metaft.traces.pack.archive import Pack
from metaft.traces.pack.manifest import MANIFEST_FILE, Manifest


def _altered(pack: Path, folder: Path, member: str, change: Callable[[bytes], bytes | None]):
    """Copy a pack with one member changed, or left out."""
    copy = folder / "altered.pack"
    with zipfile.ZipFile(pack) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            content = change(old.read(name)) if name == member else old.read(name)
            if content is not None:
                new.writestr(name, content)
    return copy


def _changed_manifest(path: tuple[str | int, ...], value: object) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        values = inner = json.loads(content)
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        return json.dumps(values).encode()

    return change


def test_a_pack_is_what_its_manifest_says(text_pack: Path) -> None:
    pack = Pack(text_pack)
    pack.check()
    assert Manifest.from_json(pack.manifest.to_json()) == pack.manifest
    assert pack.backbone().fingerprint == pack.manifest.backbone.fingerprint


@pytest.mark.parametrize("member", ["backbone.safetensors", "tasks/0000.safetensors"])
def test_a_changed_bit_is_found(text_pack: Path, tmp_path: Path, member: str) -> None:
    copy = _altered(text_pack, tmp_path, member, lambda old: old[:-1] + bytes([old[-1] ^ 1]))
    with pytest.raises(PackError, match=f"{member} in the pack .* does not have its SHA-256"):
        Pack(copy).check()


def test_a_bit_that_the_copy_changed_is_found(text_pack: Path, tmp_path: Path) -> None:
    # Within a file's own bytes: a zip also has some that mean nothing (hours, a second name).
    with zipfile.ZipFile(text_pack) as pack:
        largest = max(pack.infolist(), key=lambda member: member.compress_size)
    content = bytearray(text_pack.read_bytes())
    content[largest.header_offset + largest.compress_size // 2] ^= 1
    (tmp_path / "damaged.pack").write_bytes(content)
    with pytest.raises(PackError):
        Pack(tmp_path / "damaged.pack").check()


def test_a_missing_file_is_named(text_pack: Path, tmp_path: Path) -> None:
    copy = _altered(text_pack, tmp_path, "tasks/0000.safetensors", lambda _: None)
    with pytest.raises(PackError, match=r"tasks/0000.safetensors, which is missing"):
        Pack(copy).check()


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_what_is_no_pack_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "some.pack").write_bytes(content)
    with pytest.raises(PackError, match=r"some\.pack is no readable pack"):
        Pack(tmp_path / "some.pack")


def test_half_a_pack_is_named(text_pack: Path, tmp_path: Path) -> None:
    (tmp_path / "half.pack").write_bytes(text_pack.read_bytes()[:-2000])
    with pytest.raises(PackError, match="no readable pack"):
        Pack(tmp_path / "half.pack")


@pytest.mark.parametrize("field", ["pack_schema", "trace_schema"])
def test_another_schema_is_refused(text_pack: Path, tmp_path: Path, field: str) -> None:
    change = _changed_manifest((field,), 99)
    with pytest.raises(PackError, match=f"the {field} 99 "):
        Pack(_altered(text_pack, tmp_path, MANIFEST_FILE, change))


def test_a_run_with_another_key_is_refused(text_pack: Path, tmp_path: Path) -> None:
    change = _changed_manifest(("runs", 0, "recipe", "dropout"), 0.2)
    with pytest.raises(PackError, match="another key"):
        Pack(_altered(text_pack, tmp_path, MANIFEST_FILE, change)).check()


def test_a_backbone_that_is_built_otherwise_is_refused(text_pack: Path, tmp_path: Path) -> None:
    change = _changed_manifest(("backbone", "packed_fingerprint"), "0" * 16)
    with pytest.raises(PackError, match="in another way"):
        Pack(_altered(text_pack, tmp_path, MANIFEST_FILE, change)).backbone()
