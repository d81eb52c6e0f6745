"""A token embedding cut down to the tokens that the rows at hand use.

A pretrained vocabulary has 30,000 tokens, a small dataset a tenth of that. Whatever the batch,
the gradient of the whole embedding, its norm and its update go through every row of it: half
of MiniLM's parameters, and a seventh of the time of a step at 11 tokens per text (docs/design.md).
Rows that no text uses get no gradient, so leaving them out changes no number of the rows in use;
they stay as they were pretrained, where weight decay would have shrunk them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class CompactEmbedding(nn.Module):
    """Stands in for an embedding, knows some of its tokens, and takes the same token ids.

    Attributes:
        weight: `(known tokens, width)`; learns in place of the whole one.
        padding_idx: Row of the padding token among the known ones; it gets no gradient.

    Args:
        whole: What it stands in for; left as it is.
        token_ids: `(known tokens,)` distinct ids; any other id is an error on a CPU and
            undefined on a GPU.
    """

    _rows: Tensor  # (tokens of the whole,): where a token stands here
    _token_ids: Tensor  # (known tokens,)

    def __init__(self, whole: nn.Embedding, token_ids: Tensor) -> None:
        super().__init__()
        self._whole = (whole,)  # In a tuple, so that it is no part of this module.
        self.weight = nn.Parameter(whole.weight.detach()[token_ids].clone())
        rows = torch.full((whole.num_embeddings,), whole.num_embeddings)
        rows[token_ids] = torch.arange(len(token_ids))
        self.register_buffer("_rows", rows, persistent=False)
        self.register_buffer("_token_ids", token_ids, persistent=False)
        self.padding_idx = None if whole.padding_idx is None else int(rows[whole.padding_idx])

    def forward(self, token_ids: Tensor) -> Tensor:
        """Return the embeddings `(..., width)` of token ids `(...)`."""
        return functional.embedding(self._rows[token_ids], self.weight, self.padding_idx)

    @torch.no_grad()
    def expanded(self) -> nn.Embedding:
        """Return the whole embedding with the rows that were learned here."""
        whole = self._whole[0]
        whole.weight[self._token_ids.to(whole.weight.device)] = self.weight.to(whole.weight.device)
        return whole.to(self.weight.device)


def can_be_compact(embedding: nn.Module) -> bool:
    """Say whether an embedding does nothing but look rows up."""
    return (
        type(embedding) is nn.Embedding
        and embedding.max_norm is None
        and not embedding.scale_grad_by_freq
        and not embedding.sparse
    )
