"""Store a mean-pooled BERT classifier as a plain `BertForSequenceClassification`.

That class reads its answer off the first token, so a mean-pooled model does not fit into it
as it is. One more block, whose weights are written down rather than learned, makes the first
token hold the (normalised) mean:

- queries and keys are zero: the first token attends to every unmasked token alike, and
  values are the identity: attention gives the mean `m`;
- the attention's output is `SCALE * m`; beside it the residual (the first token's own state)
  is negligible, and the block's layer norm leaves `norm(m)`, which is metaft's pooling;
- the feed-forward part is zero, so the second layer norm changes nothing;
- the pooler multiplies by `SLOPE`, where tanh is linear, and the classifier divides by it.

The result answers as metaft does, without any code of ours on the reader's side. `SCALE` and
`SLOPE` bound the error (measured in tests/backbones/test_averaging.py) and stay within half
precision.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from transformers import BertForSequenceClassification, PreTrainedModel

SCALE = 2.0**14  # |mean| < 4 stays below 65504, the largest number of fp16.
SLOPE = 2.0**-10  # tanh(SLOPE * x) = SLOPE * x * (1 - 3e-7 * x**2 ...)


def classifier_with_averaging_block(
    encoder: PreTrainedModel, head: nn.Linear
) -> BertForSequenceClassification:
    """Return a plain BERT classifier that answers `head(norm(mean(encoder(text))))`.

    Args:
        encoder: A `BertModel` without a pooler.
        head: `(outputs, width)`.
    """
    config: Any = copy.deepcopy(encoder.config)
    config.num_hidden_layers += 1
    config.num_labels = head.out_features
    whole: Any = BertForSequenceClassification(config)
    whole.bert.load_state_dict(encoder.state_dict(), strict=False)
    with torch.no_grad():
        _write_averaging_block(whole.bert.encoder.layer[-1])
        _write_scaled_identity(whole.bert.pooler.dense, SLOPE)
        whole.classifier.weight.copy_(head.weight / SLOPE)
        whole.classifier.bias.copy_(head.bias)
    built: BertForSequenceClassification = whole
    return built


def _write_averaging_block(block: Any) -> None:
    attention = block.attention
    for layer in (attention.self.query, attention.self.key):
        _write_scaled_identity(layer, 0.0)
    _write_scaled_identity(attention.self.value, 1.0)
    _write_scaled_identity(attention.output.dense, SCALE)
    for layer in (block.intermediate.dense, block.output.dense):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    for norm in (attention.output.LayerNorm, block.output.LayerNorm):
        nn.init.ones_(norm.weight)
        nn.init.zeros_(norm.bias)


def _write_scaled_identity(layer: nn.Linear, factor: float) -> None:
    layer.weight.copy_(torch.eye(layer.out_features) * factor)
    nn.init.zeros_(layer.bias)
