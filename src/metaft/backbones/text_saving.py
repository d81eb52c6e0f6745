"""Writing a text backbone with its head as a model that plain transformers loads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForTokenClassification,
    PreTrainedModel,
)

from metaft.backbones.text_blocks import last_linear, replace_module
from metaft.backbones.text_files import quiet_transformers
from metaft.errors import BackboneError
from metaft.tasks.task import Kind

HEAD_FILE = "head.safetensors"
"""Holds the head alone, beside the encoder, where a family's own model has layers between."""

_CLASSES: dict[str, Any] = {
    "ner": AutoModelForTokenClassification,
    "qa": AutoModelForQuestionAnswering,
}


def with_token_head(encoder: PreTrainedModel, head: nn.Linear, kind: Kind) -> Any | None:
    """Return the family's own model for tagged words or questions, with an encoder and a head.

    Args:
        encoder: The base model.
        head: `(outputs, token_width)`.
        kind: `ner` or `qa`.

    Returns:
        None where that model has more layers than these two, which were not trained.
    """
    config: Any = copy.deepcopy(encoder.config)
    config.num_labels = head.out_features
    with quiet_transformers():
        whole: Any = _CLASSES[kind].from_config(config)
    base = getattr(whole, whole.base_model_prefix)
    replace_module(whole, last_linear(whole), copy.deepcopy(head))
    known = {
        id(value)
        for part in (base, whole.get_submodule(last_linear(whole)))
        for value in part.parameters()
    }
    if any(id(value) not in known for value in whole.parameters()):
        return None
    loaded = base.load_state_dict(encoder.state_dict(), strict=False)
    return None if loaded.missing_keys else whole


def put_head(whole: Any, path: str, head: nn.Linear, *, has_bias: bool) -> None:
    """Put a head where a family has its classifier.

    Some classifiers (GPT-2's) have no bias. The last layer norm, which nothing but they read,
    then takes it in: with `W c = b`, `W (x + c)` is `W x + b`.

    Args:
        whole: The family's own model.
        path: Of its classifier.
        head: `(outputs, width)`.
        has_bias: Whether the classifier has a bias.

    Raises:
        BackboneError: If neither classifier nor layer norm has one.
    """
    own: Any = copy.deepcopy(head)
    if not has_bias:
        norms: list[Any] = [
            module for module in whole.modules() if isinstance(module, nn.LayerNorm)
        ]
        if not norms or norms[-1].bias is None:
            raise BackboneError(
                f"the classifier of {type(whole).__name__} has no bias, and no layer norm before "
                "it has one",
                "Choose another text backbone",
            )
        with torch.no_grad():
            norms[-1].bias += torch.linalg.pinv(own.weight) @ own.bias
        own.bias = None
    replace_module(whole, path, own)


def save_with_token_head(
    folder: Path, encoder: PreTrainedModel, head: nn.Linear, label_names: Sequence[str], kind: Kind
) -> None:
    """Write an encoder and a head for tokens.

    Args:
        folder: Exists already.
        encoder: The base model.
        head: `(outputs, token_width)`.
        label_names: Of tags; empty for questions.
        kind: `ner` or `qa`.
    """
    whole = with_token_head(encoder, head, kind)
    if whole is None:
        whole = copy.deepcopy(encoder)
        weights = {name: value.detach().cpu() for name, value in head.state_dict().items()}
        save_file(weights, folder / HEAD_FILE)
    write_model(folder, whole, label_names)


def write_model(folder: Path, whole: Any, label_names: Sequence[str]) -> None:
    """Write a whole model, with the names of its classes where it has some."""
    whole.requires_grad_(True).cpu().eval()
    if label_names:
        whole.config.id2label = dict(enumerate(label_names))
        whole.config.label2id = {name: at for at, name in enumerate(label_names)}
    with quiet_transformers():
        whole.save_pretrained(folder)
