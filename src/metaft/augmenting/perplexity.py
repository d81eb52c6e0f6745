"""Perplexity: how likely a language model finds the texts that augmentation makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from metaft.backbones.text_files import quiet_transformers
from metaft.errors import BackboneError

MOST_TOKENS = 128
"""Tokens of a text that are looked at; what comes after them is cut off."""

_TEXTS_AT_ONCE = 16


class LanguageModel:
    """A causal language model, as it was pretrained.

    Args:
        model: Of transformers, for causal language modelling.
        tokenizer: Its own.
        identity: What it is called.
    """

    def __init__(self, model: Any, tokenizer: Any, identity: str) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self.identity = identity
        config = getattr(model.config, "get_text_config", lambda: model.config)()
        self._longest = min(MOST_TOKENS, getattr(config, "max_position_embeddings", MOST_TOKENS))

    @classmethod
    def load(cls, identity: str, *, offline: bool = False) -> LanguageModel:
        """Load a model by its id on the hub, or from a folder in `save_pretrained` form.

        Raises:
            BackboneError: If there is none that transformers can load.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            with quiet_transformers():
                tokenizer = AutoTokenizer.from_pretrained(identity, local_files_only=offline)
                model = AutoModelForCausalLM.from_pretrained(
                    identity,
                    dtype=torch.float32,
                    use_safetensors=True,
                    local_files_only=offline,
                )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise BackboneError(
                f"the language model {identity!r} cannot be loaded: {error}",
                "Give the id of a causal language model on the hub, such as openai-community/gpt2, "
                "or a folder with its config, tokenizer and model.safetensors",
            ) from error
        return cls(model, tokenizer, identity)

    @torch.no_grad()
    def perplexity(self, texts: Sequence[str], device: str) -> float:
        """Return exp of the mean negative log-likelihood of a token, given those before it.

        The first token of a text has none before it and is not counted.

        Args:
            texts: Each is cut at `MOST_TOKENS`; those of fewer than two tokens say nothing.
            device: Where the model runs.

        Returns:
            At least 1; NaN where no text says anything.
        """
        self._model.to(device)
        rows = self._encode(texts)
        total, count = 0.0, 0
        for at in range(0, len(rows), _TEXTS_AT_ONCE):
            ids, mask = _padded(rows[at : at + _TEXTS_AT_ONCE], device)
            logits = self._model(input_ids=ids, attention_mask=mask).logits.float()
            # (rows, tokens - 1): what each token costs, given those before it
            losses = functional.cross_entropy(
                logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none"
            )
            total += float((losses * mask[:, 1:]).sum())
            count += int(mask[:, 1:].sum())
        return math.exp(total / count) if count else math.nan

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of every text, short ones first, so that little is padded."""
        if not texts:
            return []
        given = self._tokenizer(list(texts), truncation=True, max_length=self._longest)
        return sorted((row for row in given["input_ids"] if len(row) > 1), key=len)


def _padded(rows: Sequence[Sequence[int]], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens `(rows, tokens)`, filled up behind, and 1 where they are a text's own."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row)
        mask[at, : len(row)] = 1
    return ids.to(device), mask.to(device)
