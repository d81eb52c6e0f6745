"""Classifier: a backbone, dropout and one linear head, for rows or for every token."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from metaft.backbones.backbone import Backbone, Batch
from metaft.finetuning.chain import TagChain


class Classifier(nn.Module):
    """A backbone with a linear head.

    Attributes:
        backbone: Gives features `(rows, width)`, or `(rows, tokens, token_width)`.
        dropout: On the features.
        head: `(outputs, width)`.
        is_by_token: Whether it answers for every token rather than for the row.
        chain: Scores of a tag after a tag, beside those of the head.
    """

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        dropout: float,
        *,
        is_by_token: bool = False,
        chain: TagChain | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.is_by_token = is_by_token
        self.chain = chain
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(backbone.token_width if is_by_token else backbone.width, outputs)
        nn.init.normal_(self.head.weight, std=0.02)  # As BERT's heads are.
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch, *, start: int = 0, hidden: Tensor | None = None) -> Tensor:
        """Return logits `(rows, outputs)`, or `(rows, tokens, outputs)`; see `Backbone.forward`."""
        encode = self.backbone.token_states if self.is_by_token else self.backbone
        return self.classify(encode(batch, start=start, hidden=hidden))

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits of features, which may be those of tokens."""
        logits: Tensor = self.head(self.dropout(features))
        return logits


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that learn, by name."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def trained_state(model: Classifier, learning: Collection[str] | None = None) -> dict[str, Tensor]:
    """Copy everything that training may change: learning parameters and thawed buffers.

    Args:
        model: Of the run.
        learning: Names of the parameters that learn at some time; None takes those that do now.
    """
    learns = trainable(model) if learning is None else learning
    names = set(learns) | {name for name, _ in model.named_buffers()}
    return {
        name: value.detach().clone() for name, value in model.state_dict().items() if name in names
    }


@torch.no_grad()
def restore_state(model: Classifier, state: dict[str, Tensor]) -> None:
    """Put back what `trained_state` copied."""
    model.load_state_dict(state, strict=False)
