"""Initialisation: small and exact enough as a file, and refused where it does not belong."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from metaft.errors import PriorError
from metaft.metalearning.initialisation import (
    Initialisation,
    apply_initialisation,
    differences_between,
    load_initialisation,
)
from metaft.metalearning.settings import MetaSettings

_LAYER = "model.encoder.layer.1.output.dense.weight"


@pytest.fixture
def backbone(tiny_text_backbone):
    return tiny_text_backbone()


@pytest.fixture
def build(backbone):
    """Return a factory of initialisations of the tiny backbone; anything may be set."""

    def build(**changed):
        values = {
            "differences": {_LAYER: torch.full((16, 32), 1e-3, dtype=torch.bfloat16)},
            "backbone": backbone.identity,
            "backbone_fingerprint": backbone.fingerprint,
            "settings": MetaSettings(algorithm="fomaml", ways=(2,), steps=7),
            "tasks": ("glue/cola", "trec"),
            "steps": 5,
            "train_seconds": 1.5,
            "peak_memory_mib": 300.0,
            "learned_rates": {"head.bias": 0.002},
        }
        return Initialisation(**{**values, **changed})

    return build


def test_a_saved_initialisation_comes_back_the_same(build, tmp_path):
    saved = build()
    saved.save(tmp_path / "prior" / "init.safetensors")
    loaded = load_initialisation(tmp_path / "prior" / "init.safetensors")

    assert loaded.to_mapping() == saved.to_mapping()
    assert loaded.settings == saved.settings
    assert loaded.fingerprint == saved.fingerprint
    torch.testing.assert_close(dict(loaded.differences), saved.differences, rtol=0, atol=0)


@pytest.mark.parametrize("size", [1e-9, 1e-5, 1e-1])
def test_a_difference_of_any_size_is_kept_within_half_a_percent(size):
    generator = torch.Generator().manual_seed(0)
    pretrained = {"same": torch.ones(3), "moved": torch.zeros(100)}
    change = size * torch.randn(100, generator=generator)
    found = differences_between(pretrained, {"same": torch.ones(3), "moved": change})

    assert set(found) == {"moved"}
    torch.testing.assert_close(found["moved"].float(), change, rtol=2**-8, atol=0)


def test_applying_moves_the_weights_by_the_differences(build, backbone):
    before = {name: value.detach().clone() for name, value in backbone.named_parameters()}
    initialisation = build()
    apply_initialisation(backbone, initialisation)

    for name, value in backbone.named_parameters():
        moved = initialisation.differences.get(name)
        expected = before[name] if moved is None else before[name] + moved.float()
        assert torch.equal(value.detach(), expected)
    assert backbone.fingerprint == initialisation.fingerprint


def test_another_backbone_and_a_second_application_are_refused(build, backbone, tiny_text_backbone):
    initialisation = build()
    with pytest.raises(PriorError, match="but the backbone is 'random/bert-2' with the finger"):
        apply_initialisation(tiny_text_backbone(seed=1), initialisation)
    apply_initialisation(backbone, initialisation)
    with pytest.raises(PriorError, match="with its pretrained weights"):
        apply_initialisation(backbone, initialisation)


@pytest.mark.parametrize("name", ["model.nothing", _LAYER])
def test_a_tensor_that_does_not_fit_is_refused_and_changes_nothing(build, backbone, name):
    before = backbone.get_parameter(_LAYER).detach().clone()
    stranger = {_LAYER: torch.ones(16, 32), name: torch.ones(3)}
    with pytest.raises(PriorError, match=r"of shape \(3,\) fits no parameter"):
        apply_initialisation(backbone, build(differences=stranger))
    assert torch.equal(backbone.get_parameter(_LAYER), before)


def test_a_file_that_is_missing_or_torn_is_refused(build, tmp_path):
    path = tmp_path / "init.safetensors"
    with pytest.raises(PriorError, match="cannot be read"):
        load_initialisation(path)
    build().save(path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(PriorError, match="cannot be read"):
        load_initialisation(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 99}, "schema 99"),
        ({"settings": {"steps": 0}}, "steps is 0"),
        ({"surprise": 1}, "surprise"),
        (None, "schema None"),
    ],
)
def test_a_header_that_is_not_sound_is_refused(build, tmp_path, change, message):
    path = tmp_path / "init.safetensors"
    header = None if change is None else {"schema": 1, **build().to_mapping(), **change}
    save_file({_LAYER: torch.ones(2)}, path, metadata={"metaft": json.dumps(header)})
    with pytest.raises(PriorError, match=message):
        load_initialisation(path)


def test_numbers_that_are_not_finite_are_refused(build, tmp_path):
    build(differences={_LAYER: torch.tensor([1.0, float("nan")])}).save(tmp_path / "init")
    with pytest.raises(PriorError, match="not finite"):
        load_initialisation(tmp_path / "init")
