from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from metaft.backbones.averaging import classifier_with_averaging_block


@pytest.fixture
def encoder() -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=100,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        attn_implementation="eager",
    )
    return BertModel(config, add_pooling_layer=False).eval()


@pytest.fixture
def head() -> nn.Linear:
    torch.manual_seed(1)
    layer = nn.Linear(64, 5)
    nn.init.normal_(layer.weight, std=0.2)
    return layer


def _batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, 100, (6, 24), generator=generator)
    mask = (torch.arange(24) < torch.tensor([24, 20, 9, 3, 2, 1])[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask}


def _reference(encoder: BertModel, head: nn.Linear) -> torch.Tensor:
    batch = _batch()
    states, mask = encoder(**batch).last_hidden_state, batch["attention_mask"][..., None]
    mean = (states * mask).sum(1) / mask.sum(1)
    return head(nn.functional.layer_norm(mean, (64,)))


@torch.no_grad()
def test_the_block_answers_as_the_mean(encoder: BertModel, head: nn.Linear) -> None:
    whole = classifier_with_averaging_block(encoder, head).eval()
    expected = _reference(encoder, head)
    assert expected.abs().max() > 2  # Answers worth comparing.
    assert (whole(**_batch()).logits - expected).abs().max() < 2e-3


@torch.no_grad()
def test_the_residual_is_all_that_is_off(encoder: BertModel, head: nn.Linear) -> None:
    """In float64 the error is that of the first token's own state, some 1e-4 of the mean."""
    whole = classifier_with_averaging_block(encoder, head).double().eval()
    expected = _reference(encoder.double(), head.double())
    error = (whole(**_batch()).logits - expected).abs().max()
    assert 1e-7 < error < 2e-3


@torch.no_grad()
def test_half_precision_does_not_overflow(encoder: BertModel, head: nn.Linear) -> None:
    whole = classifier_with_averaging_block(encoder, head).half().eval()
    expected = _reference(encoder.float(), head.float())
    assert (whole(**_batch()).logits.float() - expected).abs().max() < 0.05


def test_the_encoder_is_left_alone(encoder: BertModel, head: nn.Linear) -> None:
    before = encoder.config.num_hidden_layers
    whole = classifier_with_averaging_block(encoder, head)
    assert encoder.config.num_hidden_layers == before == 2
    assert len(whole.bert.encoder.layer) == 3
