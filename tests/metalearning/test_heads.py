"""Heads: nothing said at first, or the class whose mean is nearest."""

from __future__ import annotations

import torch
from torch import nn

from metaft.metalearning.heads import PROTOTYPE_SHARPNESS, prototype_head, zero_head


def test_a_zero_head_prefers_no_class():
    head = nn.Linear(4, 3)
    zero_head(head)
    assert torch.equal(head(torch.randn(5, 4)), torch.zeros(5, 3))


def test_prototype_logits_are_squared_distances_but_for_what_classes_share():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2] * 3)
    head = nn.Linear(4, 3).double()
    prototype_head(head, features, labels)

    means = torch.stack([features[labels == label].mean(0) for label in range(3)])
    unit = features.square().sum(1).mean()
    distances = torch.cdist(features, means).square()
    expected = -PROTOTYPE_SHARPNESS * distances / unit
    found = head(features).detach()
    torch.testing.assert_close(found - found[:, :1], expected - expected[:, :1])


def test_the_scale_of_the_features_changes_no_logit():
    features, labels = torch.randn(8, 4), torch.arange(8) % 2
    logits = []
    for scale in (1.0, 100.0):
        head = nn.Linear(4, 2)
        prototype_head(head, scale * features, labels)
        logits.append(head(scale * features))
    torch.testing.assert_close(logits[0], logits[1])


def test_a_class_without_rows_has_its_mean_at_zero():
    head = nn.Linear(2, 3)
    prototype_head(head, torch.eye(2), torch.tensor([0, 2]))
    assert torch.equal(head.weight[1], torch.zeros(2))
    assert head.bias[1] == 0
