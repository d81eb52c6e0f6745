"""The meta-learned start is found where it lies, and recommended where it was shown to help."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from metaft.errors import PriorError
from metaft.files import sha256_of
from metaft.metalearning.initialisation import Initialisation
from metaft.metalearning.settings import MetaSettings
from metaft.prior.manifest import INITIALISATION
from metaft.prior.starting import (
    EVIDENCE,
    SizeEvidence,
    Start,
    StartEvidence,
    find_initialisation,
    recommend_start,
    start_meta_learned,
)

GAIN = SizeEvidence(24.0, "lp-ft", 3.2, 0.001, 0.004, is_harmless=True)
NOTHING = SizeEvidence(512.0, "lp-ft", -0.1, 0.6, 0.7, is_harmless=True)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / INITIALISATION).write_bytes(b"weights")
    _evidence(tmp_path).save(tmp_path)
    return tmp_path


def _evidence(folder, **changed):
    values = {
        "sha256": sha256_of(folder / INITIALISATION),
        "backbone": "minilm",
        "algorithm": "reptile",
        "datasets": 20,
        "sizes": (GAIN, NOTHING),
    }
    return StartEvidence(**{**values, **changed})


def test_evidence_comes_back_as_it_was_written(folder):
    assert StartEvidence.read(folder) == _evidence(folder)


@pytest.mark.parametrize(
    ("rows", "init"), [(24, "meta"), (40, "meta"), (512, "pretrained"), (400, "pretrained")]
)
def test_the_nearest_size_decides(folder, rows, init):
    start = recommend_start(folder, "minilm", rows)
    assert start.init == init
    assert "reptile against lp-ft, 20 held-out datasets" in start.why


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"t_p_value": 0.02}, "p = .020"),
        ({"wilcoxon_p_value": 0.02}, "p = .020"),
        ({"difference": -3.2}, "-3.2 points"),
    ],
)
def test_both_tests_must_show_a_gain(folder, changed, why):
    _evidence(folder, sizes=(dataclasses.replace(GAIN, **changed),)).save(folder)
    start = recommend_start(folder, "minilm", 24)
    assert start.init == "pretrained"
    assert why in start.why


def test_that_no_harm_was_shown_is_told_where_no_gain_was(folder):
    assert recommend_start(folder, "minilm", 512).why.endswith(
        "-0.1 points (p = .700), no worse to within 0.3 points"
    )
    assert "no worse" not in recommend_start(folder, "minilm", 24).why, "it is better"
    harmful = dataclasses.replace(NOTHING, is_harmless=False)
    _evidence(folder, sizes=(harmful,)).save(folder)
    assert "no worse" not in recommend_start(folder, "minilm", 512).why


@pytest.mark.parametrize(
    ("rows", "backbone", "change", "why"),
    [
        (100, "minilm", {}, "nothing was compared near 100 training rows"),
        (24, "other", {}, "the initialisation that was compared is minilm's"),
        (24, "minilm", {"sha256": "0"}, "it was another initialisation that was compared"),
        (24, "minilm", {"sizes": ()}, "nothing was compared near"),
    ],
)
def test_what_was_not_compared_is_not_recommended(folder, rows, backbone, change, why):
    _evidence(folder, **change).save(folder)
    start = recommend_start(folder, backbone, rows)
    assert start.init == "pretrained"
    assert why in start.why


def test_without_a_comparison_or_an_initialisation_the_pretrained_weights_stay(folder):
    (folder / EVIDENCE).unlink()
    assert "was not compared" in recommend_start(folder, "minilm", 24).why
    (folder / INITIALISATION).unlink()
    assert "holds no meta-learned" in recommend_start(folder, "minilm", 24).why


@pytest.mark.parametrize(("rows", "found"), [(24, "+3.2 points"), (512, "-0.1 points")])
def test_weights_that_do_not_ship_are_told_of_and_not_recommended(folder, rows, found):
    (folder / INITIALISATION).unlink()
    start = recommend_start(folder, "minilm", rows)
    assert start.init == "pretrained"
    assert start.why.startswith("the prior holds no meta-learned initialisation; reptile against")
    assert found in start.why
    far = recommend_start(folder, "minilm", 50_000)
    assert far == Start("pretrained", "the prior holds no meta-learned initialisation")


@pytest.mark.parametrize("text", ["torn", '{"schema": 9}', '{"schema": 1, "sizes": [{}]}', "[]"])
def test_broken_evidence_is_refused_by_name(folder, text):
    (folder / EVIDENCE).write_text(text)
    with pytest.raises(PriorError, match=r"initialisation\.json cannot be read"):
        recommend_start(folder, "minilm", 24)


@pytest.fixture
def backbone(tiny_text_backbone):
    return tiny_text_backbone()


def test_a_folder_with_nothing_but_weights_can_be_started_from(tmp_path, backbone):
    name, weight = list(backbone.named_parameters())[-1]
    before = weight.detach().clone()
    Initialisation(
        differences={name: torch.full_like(weight, 0.5, dtype=torch.bfloat16)},
        backbone=backbone.identity,
        backbone_fingerprint=backbone.fingerprint,
        settings=MetaSettings(),
        tasks=("trec",),
        steps=1,
        train_seconds=1.0,
        peak_memory_mib=1.0,
        learned_rates={},
    ).save(tmp_path / INITIALISATION)
    start_meta_learned(backbone, str(tmp_path))
    torch.testing.assert_close(weight.detach(), before + 0.5)


@pytest.mark.parametrize("prior", [None, "minilm-text-v1", "."])
def test_a_prior_without_an_initialisation_is_refused(backbone, prior, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PriorError, match="holds no meta-learned initialisation"):
        start_meta_learned(backbone, prior)


def test_weights_that_a_prior_was_not_made_with_are_refused(own_prior):
    manifest = json.loads((own_prior / "prior.json").read_text())
    manifest["files"][INITIALISATION] = "0" * 64
    (own_prior / "prior.json").write_text(json.dumps(manifest))
    (own_prior / INITIALISATION).write_bytes(b"exchanged")
    with pytest.raises(PriorError, match=r"init\.safetensors is not the file"):
        find_initialisation(str(own_prior))
