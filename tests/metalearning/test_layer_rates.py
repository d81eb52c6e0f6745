"""Learned rates become the decay of a recipe's rate from block to block."""

from __future__ import annotations

import pytest

from metaft.metalearning.layer_rates import block_rates, layer_rate_decay_of


@pytest.fixture
def backbone(tiny_text_backbone):
    return tiny_text_backbone(depth=4)


def _rates(backbone, rate_of_block):
    """Give all parameters of a block one rate; blocks without one were frozen."""
    name_of = {id(value): f"backbone.{name}" for name, value in backbone.named_parameters()}
    return {
        name_of[id(value)]: rate_of_block[number]
        for number, block in enumerate(backbone.blocks())
        if number in rate_of_block
        for value in block.parameters()
    } | {"head.weight": 9.0}


def test_each_block_has_the_mean_rate_of_its_weights(backbone):
    rates = _rates(backbone, {2: 1e-3, 3: 2e-3})
    assert block_rates(backbone, rates) == pytest.approx({2: 1e-3, 3: 2e-3})

    block = dict(backbone.blocks()[2].named_parameters())
    large = max(block, key=lambda name: block[name].numel())
    (name,) = [name for name in rates if f"layer.2.{large}" in name]
    moved = block_rates(backbone, {**rates, name: 3e-3})
    share = block[large].numel() / sum(value.numel() for value in block.values())
    assert moved[2] == pytest.approx(1e-3 + share * 2e-3)


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_a_decay_comes_back(backbone, decay):
    rates = {number: 1e-3 * decay ** (3 - number) for number in range(4)}
    assert layer_rate_decay_of(backbone, _rates(backbone, rates)) == pytest.approx(decay)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({0: 2e-3, 3: 1e-3}, 1.0),
        ({3: 1e-3}, 1.0),
        ({2: -1e-3, 3: 1e-3}, 1.0),
        ({2: 1e-9, 3: 1.0}, 0.1),
    ],
)
def test_a_recipe_takes_it_whatever_was_learned(backbone, rates, expected):
    assert layer_rate_decay_of(backbone, _rates(backbone, rates)) == expected
