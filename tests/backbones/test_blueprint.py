"""Backbones that are built anew from their blueprint and weights, with rows encoded before."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from metaft.backbones.backbone import EncodedSplit
from metaft.backbones.load import rebuild_backbone
from metaft.errors import BackboneError


def _rebuilt(backbone):
    blueprint = json.loads(json.dumps(backbone.blueprint()))
    return rebuild_backbone(backbone.modality, blueprint, backbone.weights, identity="rebuilt")


@pytest.mark.parametrize("pooling", ["mean", "native"])
def test_a_text_backbone_is_rebuilt_without_its_tokenizer(
    tiny_text_backbone, tiny_task, pooling: str
) -> None:
    backbone, split = tiny_text_backbone(pooling=pooling), tiny_task(rows=6).train
    backbone.eval()
    rebuilt = _rebuilt(backbone).eval()
    assert rebuilt.fingerprint == backbone.fingerprint
    examples = backbone.encode(split, max_length=32, image_size=96)
    encoded = EncodedSplit(labels=split.labels, encodings={(32, 96): examples}).take([4, 0, 2])
    batches = [
        backbone.collate(examples, [4, 0, 2]),
        rebuilt.collate(rebuilt.encode(encoded, max_length=32, image_size=96), np.arange(3)),
    ]
    with torch.no_grad():
        assert torch.equal(backbone(batches[0]), rebuilt(batches[1]))
    assert np.array_equal(encoded.labels, split.labels[[4, 0, 2]])
    with pytest.raises(BackboneError, match="without a tokenizer"):
        rebuilt.encode(split, max_length=32, image_size=96)
    with pytest.raises(BackboneError, match="rows without texts"):
        rebuilt.encode(encoded, max_length=16, image_size=96)


def test_an_image_backbone_is_rebuilt(tiny_image_backbone, tiny_task) -> None:
    backbone = tiny_image_backbone(seed=3)
    rebuilt = _rebuilt(backbone)
    assert rebuilt.fingerprint == backbone.fingerprint
    split = tiny_task(rows=6, kind="image_classification").train
    batches = [
        b.collate(b.encode(split, max_length=8, image_size=32), [1, 2]) for b in (backbone, rebuilt)
    ]
    with torch.no_grad():
        assert torch.equal(backbone(batches[0]), rebuilt(batches[1]))
