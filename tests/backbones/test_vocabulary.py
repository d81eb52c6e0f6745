from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from metaft.backbones.vocabulary import CompactEmbedding, can_be_compact

USED = torch.tensor([0, 3, 7])


def test_it_answers_the_same_and_learns_the_same() -> None:
    torch.manual_seed(0)
    whole = nn.Embedding(10, 4, padding_idx=0).double()
    alone = copy.deepcopy(whole)
    compact = CompactEmbedding(whole, USED)
    ids = torch.tensor([[3, 7, 0], [7, 7, 3]])
    weights = torch.randn(2, 3, 4, dtype=torch.float64)
    assert torch.equal(compact(ids), alone(ids))
    for embedding in (compact, alone):
        (embedding(ids) * weights).sum().backward()
        torch.optim.SGD(embedding.parameters(), lr=0.1).step()
    assert torch.equal(compact.expanded().weight, alone.weight)


def test_the_padding_gets_no_gradient() -> None:
    compact = CompactEmbedding(nn.Embedding(10, 4, padding_idx=0), USED)
    compact(torch.tensor([0, 3])).sum().backward()
    assert compact.weight.grad is not None
    assert compact.weight.grad[0].abs().sum() == 0
    assert compact.weight.grad[1].abs().sum() > 0


def test_an_unknown_token_is_an_error() -> None:
    with pytest.raises(IndexError):
        CompactEmbedding(nn.Embedding(10, 4), USED)(torch.tensor([1]))


def test_the_whole_embedding_is_no_part_of_it() -> None:
    compact = CompactEmbedding(nn.Embedding(10, 4), USED)
    assert [tuple(value.shape) for value in compact.parameters()] == [(3, 4)]
    assert list(compact.state_dict()) == ["weight"]


@pytest.mark.parametrize(
    "embedding",
    [
        nn.Embedding(10, 4, max_norm=1.0),
        nn.Embedding(10, 4, scale_grad_by_freq=True),
        nn.Embedding(10, 4, sparse=True),
        CompactEmbedding(nn.Embedding(10, 4), USED),
    ],
)
def test_an_embedding_that_does_more_is_left_alone(embedding: nn.Module) -> None:
    assert not can_be_compact(embedding)
