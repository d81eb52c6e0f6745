"""Text backbones: any encoder that transformers has, split into blocks without a family table.

Two ways of pooling:

- `mean`: masked mean of the last hidden state, scaled to zero mean and unit variance, for
  sentence encoders (they were trained on the direction of the mean).
- `native`: whatever the family's own sequence classifier does before its last linear layer.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from metaft.backbones.averaging import classifier_with_averaging_block
from metaft.backbones.backbone import Backbone, Batch, Examples
from metaft.backbones.text_blocks import (
    find_blocks,
    last_linear,
    recorded,
    replace_module,
    skipped,
    stem_of,
)
from metaft.backbones.text_files import (
    Pooling,
    fill_padding,
    fingerprint_of,
    longest_input,
    pooling_of,
    quiet_transformers,
    with_mean_pooling,
    write_pooling_file,
)
from metaft.backbones.text_saving import put_head, save_with_token_head, write_model
from metaft.backbones.tokens import encode_questions, encode_words, examples_of
from metaft.backbones.vocabulary import CompactEmbedding, can_be_compact
from metaft.errors import BackboneError
from metaft.tasks.task import Kind, Split

# Tokens; a GPU wants aligned shapes, while on a CPU every token of padding is work for nothing
# (a multiple of 8 cost 28 % of scoring and 10 % of a training step at 11 tokens per text).
_PAD_MULTIPLE = {"cpu": 1, "cuda": 8}


class TextBackbone(Backbone):
    """An encoder of transformers.

    Attributes:
        model: The base model (`mean`), or the family's sequence classifier whose last
            linear layer is an identity (`native`).
        tokenizer: The tokenizer that belongs to it; None where rows come encoded.
        pad_token_id: What shorter rows are filled up with.
        pooling: `mean` or `native`.
    """

    modality = "text"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None,
        *,
        identity: str,
        source: str,
        pooling: Pooling,
        pad_token_id: int | None = None,
    ) -> None:
        super().__init__()
        self.identity = identity
        self.source = source
        self.pooling: Pooling = pooling
        self.tokenizer: Any = tokenizer
        self.pad_token_id = pad_token_id if tokenizer is None else tokenizer.pad_token_id
        self.model: Any = model
        self._classifier_path = "" if pooling == "mean" else last_linear(model)
        if pooling == "mean":
            self.width = model.config.hidden_size
        else:
            classifier: Any = model.get_submodule(self._classifier_path)
            self.width, self._has_head_bias = classifier.in_features, classifier.bias is not None
            replace_module(model, self._classifier_path, nn.Identity())
        self.token_width = model.config.hidden_size
        self._blocks_path = find_blocks(model)
        self._is_output_known = False
        self._block_outputs: int | None = None
        self.depth = len(self.blocks())
        self.fingerprint = fingerprint_of(model, pooling)
        self.freeze(0.0)

    @classmethod
    def from_folder(cls, folder: Path, identity: str, source: str) -> TextBackbone:
        """Load from a folder in `save_pretrained` form.

        Raises:
            BackboneError: If the folder holds no model and tokenizer that transformers reads.
        """
        return cls._load(str(folder), identity=identity, source=source, revision=None)

    @classmethod
    def from_hub(cls, identity: str, revision: str | None = None) -> TextBackbone:
        """Load from the hub (or its local cache); code of the repository is never run.

        Raises:
            BackboneError: If the hub has no such model, or cannot be reached.
        """
        return cls._load(identity, identity=identity, source="hub", revision=revision)

    @classmethod
    def from_config(
        cls,
        config: PreTrainedConfig,
        tokenizer: PreTrainedTokenizerBase,
        *,
        pooling: Pooling = "mean",
        seed: int = 0,
    ) -> TextBackbone:
        """Build with random weights, for tests and controls."""
        config = with_mean_pooling(copy.deepcopy(config))
        fill_padding(tokenizer, config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = _model_class(pooling).from_config(config, **_model_options(pooling))
        identity = f"random/{config.model_type}-{config.num_hidden_layers}"
        return cls(model, tokenizer, identity=identity, source="random", pooling=pooling)

    @classmethod
    def from_blueprint(
        cls, blueprint: Mapping[str, Any], weights: Mapping[str, Tensor], *, identity: str
    ) -> TextBackbone:
        """Build what `blueprint` and `weights` describe, without a tokenizer."""
        settings, pooling = dict(blueprint["config"]), blueprint["pooling"]
        config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        with torch.random.fork_rng(devices=[]), quiet_transformers():
            model = _model_class(pooling).from_config(
                config, dtype=torch.float32, **_model_options(pooling)
            )
        backbone = cls(
            model,
            None,
            identity=identity,
            source="pack",
            pooling=pooling,
            pad_token_id=blueprint["pad_token_id"],
        )
        backbone.model.load_state_dict(weights)
        backbone.fingerprint = fingerprint_of(backbone.model, pooling)
        return backbone

    @classmethod
    def _load(cls, place: str, *, identity: str, source: str, revision: str | None) -> TextBackbone:
        try:
            with quiet_transformers():
                config = with_mean_pooling(AutoConfig.from_pretrained(place, revision=revision))
                tokenizer = AutoTokenizer.from_pretrained(place, revision=revision)
                fill_padding(tokenizer, config)
                pooling = pooling_of(place, config)
                model = _model_class(pooling).from_pretrained(
                    place,
                    config=config,
                    revision=revision,
                    dtype=torch.float32,
                    use_safetensors=True,
                    **_model_options(pooling),
                )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise BackboneError(
                f"the text backbone {identity!r} cannot be loaded from {place!r}: {error}",
                "Give a hub id, or a folder with config.json, model.safetensors and a tokenizer",
            ) from error
        return cls(model, tokenizer, identity=identity, source=source, pooling=pooling)

    def _encode_anew(self, split: Split, *, max_length: int, image_size: int) -> Examples:
        """Tokenise every row; see `Backbone.encode`."""
        if split.texts is None:
            raise BackboneError(
                f"the text backbone {self.identity!r} was given rows without texts",
                "Choose an image backbone such as tf_efficientnet_lite0",
            )
        if self.tokenizer is None:
            raise BackboneError(
                f"the text backbone {self.identity!r} came without a tokenizer, as in a pack",
                "Load it by its name, or give it rows that are encoded",
            )
        if split.words is not None:
            return encode_words(self.tokenizer, split, self.longest(max_length))
        if split.answers is not None:
            return encode_questions(self.tokenizer, split, self.longest(max_length))
        pairs = None if split.text_pairs is None else list(split.text_pairs)
        encoded = self.tokenizer(
            list(split.texts),
            pairs,
            truncation=True,
            max_length=self.longest(max_length),
        )
        return examples_of(self.tokenizer, encoded)

    def collate(self, examples: Examples, rows: Sequence[int] | np.ndarray) -> Batch:
        """Gather and pad rows; see `Backbone.collate`."""
        longest = int(examples.lengths[np.asarray(rows)].max())
        multiple = _PAD_MULTIPLE[self.device.type]
        padded = min(-(-longest // multiple) * multiple, self.longest(10**9))
        shape = (len(rows), max(padded, longest))
        batch = {"attention_mask": np.zeros(shape, dtype=np.int64)}
        for name, column in examples.columns.items():
            fill = self.pad_token_id if name == "input_ids" else 0
            values = np.full(shape, fill or 0, dtype=np.int64)
            for at, row in enumerate(rows):
                values[at, : len(column[row])] = column[row]
                batch["attention_mask"][at, : len(column[row])] = 1
            batch[name] = values
        return {name: torch.from_numpy(values) for name, values in batch.items()}

    def trim_vocabulary(self, examples: Sequence[Examples]) -> None:
        """Keep the embeddings of the tokens in use; see `Backbone.trim_vocabulary`."""
        embedding = self.model.get_input_embeddings()
        if not can_be_compact(embedding):
            return
        padding = self.pad_token_id or 0
        columns = [split.columns["input_ids"] for split in examples]
        used = np.unique(np.concatenate([[padding], *itertools.chain.from_iterable(columns)]))
        compact = CompactEmbedding(embedding, torch.from_numpy(used).long())
        self.model.set_input_embeddings(compact)

    def restore_vocabulary(self) -> None:
        """Put the learned rows into the whole embedding; see `Backbone.restore_vocabulary`."""
        embedding = self.model.get_input_embeddings()
        if isinstance(embedding, CompactEmbedding):
            self.model.set_input_embeddings(embedding.expanded())

    def stem(self) -> list[nn.Module]:
        """Return what comes before the blocks, and what they share; see `stem_of`."""
        return stem_of(self.model.base_model, self.model.get_submodule(self._blocks_path))

    def blocks(self) -> list[nn.Module]:
        """Return the transformer blocks in order."""
        return list(self.model.get_submodule(self._blocks_path))

    def hidden_states(self, batch: Batch, depths: Sequence[int]) -> dict[int, Tensor]:
        """Return the hidden states after some depths; see `Backbone.hidden_states`."""
        found: dict[int, Tensor] = {}
        with recorded(self.blocks(), depths, found):
            self._run(batch)
        return found

    def forward(self, batch: Batch, *, start: int = 0, hidden: Tensor | None = None) -> Tensor:
        """Run the blocks from `start` on and pool; see `Backbone.forward`."""
        if start == 0:
            return self._run(batch)
        if hidden is None:
            raise ValueError(f"start is {start}: the hidden state after that depth is needed")
        with skipped(self.blocks()[:start], hidden, self._outputs_of_block(batch)):
            return self._run(batch)

    def token_states(self, batch: Batch, *, start: int = 0, hidden: Tensor | None = None) -> Tensor:
        """Run the blocks from `start` on; see `Backbone.token_states`."""
        if start == 0:
            return self._last_states(batch)
        if hidden is None:
            raise ValueError(f"start is {start}: the hidden state after that depth is needed")
        with skipped(self.blocks()[:start], hidden, self._outputs_of_block(batch)):
            return self._last_states(batch)

    def pool(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Average over the mask and scale to zero mean and unit variance."""
        mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)  # (rows, tokens, 1)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)  # (rows, width)
        at_least_single = torch.promote_types(mean.dtype, torch.float32)
        return functional.layer_norm(mean.to(at_least_single), mean.shape[-1:])

    def blueprint(self) -> dict[str, Any]:
        """Return configuration, pooling and padding; see `Backbone.blueprint`."""
        config = json.loads(self.model.config.to_json_string(use_diff=False))
        del config["_name_or_path"]  # A folder of this machine, perhaps.
        return {"config": config, "pooling": self.pooling, "pad_token_id": self.pad_token_id}

    def save(
        self,
        folder: Path,
        head: nn.Linear,
        label_names: Sequence[str],
        *,
        kind: Kind = "classification",
        image_size: int | None = None,
    ) -> None:
        """Write one model that the `AutoModelFor...` class of the kind loads."""
        if kind in ("ner", "qa"):
            save_with_token_head(folder, self.model.base_model, head, label_names, kind)
        else:
            self._save_with_row_head(folder, head, label_names)
        if self.tokenizer is not None:
            with quiet_transformers():
                self.tokenizer.save_pretrained(folder)

    def save_encoder(self, folder: Path) -> None:
        """Write encoder, tokenizer, and how sentences are pooled; see `Backbone.save_encoder`."""
        with quiet_transformers():
            self.model.save_pretrained(folder)
            if self.tokenizer is not None:
                self.tokenizer.save_pretrained(folder)
        write_pooling_file(folder, self.pooling)

    def _save_with_row_head(
        self, folder: Path, head: nn.Linear, label_names: Sequence[str]
    ) -> None:
        whole: Any
        if self.pooling == "mean":
            whole = classifier_with_averaging_block(self.model, head)
        else:
            whole = copy.deepcopy(self.model)
            put_head(whole, self._classifier_path, head, has_bias=self._has_head_bias)
        whole.config.num_labels = head.out_features
        whole.config.problem_type = "single_label_classification" if label_names else "regression"
        write_model(folder, whole, label_names)

    def longest(self, max_length: int) -> int:
        """Cap a length by what the positions of the model allow."""
        return longest_input(self.model.config, max_length)

    def _run(self, batch: Batch) -> Tensor:
        output = self.model(**batch)
        if self.pooling == "native":
            return output.logits
        return self.pool(output.last_hidden_state, batch)

    def _last_states(self, batch: Batch) -> Tensor:
        states: Tensor = self.model.base_model(**batch).last_hidden_state
        return states

    def _outputs_of_block(self, batch: Batch) -> int | None:
        """Return how many outputs a block gives as a tuple; None where it gives a tensor."""
        if not self._is_output_known:
            seen: list[Any] = []
            hook = self.blocks()[0].register_forward_hook(lambda _, __, out: seen.append(out))
            with _no_draws(self.device), torch.no_grad():
                self._run({name: value[:1] for name, value in batch.items()})
            hook.remove()
            self._block_outputs = len(seen[0]) if isinstance(seen[0], tuple) else None
            self._is_output_known = True
        return self._block_outputs


def _model_class(pooling: Pooling) -> Any:
    return AutoModel if pooling == "mean" else AutoModelForSequenceClassification


def _model_options(pooling: Pooling) -> dict[str, Any]:
    # Eager attention has a second derivative, and under bf16 on a CPU it is faster at short
    # lengths than the fused one (39 against 28 rows/s with MiniLM at 48 tokens).
    options: dict[str, Any] = {"attn_implementation": "eager"}
    if pooling == "mean":
        options["add_pooling_layer"] = False
    return options


def _no_draws(device: torch.device) -> AbstractContextManager[None]:
    """Leave the random numbers alone: a run must not depend on what ran before it."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
