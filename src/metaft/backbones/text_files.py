"""What a text backbone is read from: files, how they say that sentences are pooled, hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Pooling = Literal["mean", "native"]

_POOLING_FILE = "1_Pooling/config.json"

_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "mpnet", "longformer"}


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep load reports and progress bars away: heads are meant to be missing here."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def with_mean_pooling(config: PreTrainedConfig) -> PreTrainedConfig:
    """Choose mean pooling where the family has it as an option of its own (ModernBERT)."""
    if hasattr(config, "classifier_pooling"):
        config.classifier_pooling = "mean"
    return config


def fill_padding(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> None:
    """Let the end of a text fill rows up where nothing else is said to: decoders have no padding.

    Their classifiers read the last token before the padding.
    """
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id


def pooling_of(place: str, config: PreTrainedConfig) -> Pooling:
    """Decide how sentences are pooled: as the encoder was trained, where that is known.

    Only BERT's own classifier can store a mean (see `averaging`); the others keep theirs.
    """
    if config.model_type != "bert":
        return "native"
    declared = _read_pooling_file(place)
    if declared is not None:
        return "mean" if declared else "native"
    return "native" if _has_trained_pooler(place) else "mean"


def _read_pooling_file(place: str) -> bool | None:
    """Read what a sentence-transformers folder says of its pooling; None where it says nothing."""
    path = transformers.utils.cached_file(
        place, _POOLING_FILE, _raise_exceptions_for_missing_entries=False
    )
    if path is None:
        return None
    return bool(json.loads(Path(path).read_text()).get("pooling_mode_mean_tokens"))


def write_pooling_file(folder: Path, pooling: Pooling) -> None:
    """Write down how sentences are pooled, as sentence-transformers does."""
    path = folder / _POOLING_FILE
    path.parent.mkdir()
    path.write_text(json.dumps({"pooling_mode_mean_tokens": pooling == "mean"}))


def _has_trained_pooler(place: str) -> bool:
    from safetensors import safe_open

    path = transformers.utils.cached_file(
        place, "model.safetensors", _raise_exceptions_for_missing_entries=False
    )
    if path is None:
        return True
    with safe_open(path, "pt") as file:
        return any("pooler.dense.weight" in name for name in file.keys())  # noqa: SIM118


def longest_input(config: PreTrainedConfig, max_length: int) -> int:
    """Cap a length in tokens by what the positions of a model allow."""
    positions = getattr(config, "max_position_embeddings", None) or max_length
    # RoBERTa-like families keep the first positions for padding.
    reserved = (config.pad_token_id or 0) + 1
    offset = reserved if config.model_type in _OFFSET_POSITIONS else 0
    return min(max_length, int(positions) - offset)


def fingerprint_of(model: PreTrainedModel, pooling: str) -> str:
    """Hash the architecture, the pooling and every pretrained tensor."""
    digest = hashlib.sha256(f"{model.config.model_type} {pooling}".encode())
    for name, tensor in sorted(model.base_model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
