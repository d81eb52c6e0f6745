"""Backbone: a pretrained encoder seen as embed -> ordered blocks -> pooled features.

Freezing a depth means the same for a 6-layer BERT and an inverted-residual stack: the
embeddings (stem) and the first `round(frozen_fraction * depth)` blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from metaft.errors import BackboneError
from metaft.tasks.task import Kind, Modality, Split

Batch = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Examples:
    """The rows of one split as a backbone takes them, encoded once per task.

    Attributes:
        columns: Name -> one array per row (`input_ids`: ragged int32), or one tensor over
            all rows (`pixels`: uint8 `(rows, 3, side, side)`).
        lengths: `(rows,)` tokens of each row; 1 for images. Batches group like lengths.
        truncated: Rows that were cut to the longest allowed length.
        places: What tokens stand for, where the head answers for each of them. Of tagged words,
            `(words,)` the first token of each, -1 for words that were cut off; of questions,
            `(tokens, 2)` the characters of the context that each covers, -1 for the others.
        owners: `(rows,)` the row of the split that each row here is a window of, where long
            contexts are cut into several; None where they are the same rows.
    """

    columns: Mapping[str, Sequence[np.ndarray] | Tensor]
    lengths: np.ndarray
    truncated: int = 0
    places: Sequence[np.ndarray] | None = None
    owners: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: Sequence[int] | np.ndarray) -> Examples:
        """Return the given rows, in the given order."""
        numbers = np.asarray(rows, dtype=np.int64)
        columns: dict[str, Sequence[np.ndarray] | Tensor] = {
            name: column[numbers] if isinstance(column, Tensor) else [column[n] for n in numbers]
            for name, column in self.columns.items()
        }
        return Examples(
            columns=columns,
            lengths=self.lengths[numbers],
            places=None if self.places is None else [self.places[n] for n in numbers],
            owners=None if self.owners is None else self.owners[numbers],
        )


@dataclass(frozen=True, eq=False)
class EncodedSplit(Split):
    """Rows that a backbone has encoded before; their texts or images need not be there.

    Attributes:
        encodings: (tokens, pixels), as `Backbone.encode` is asked for them -> the rows.
    """

    encodings: Mapping[tuple[int, int], Examples] = field(default_factory=dict)

    def take(self, rows: Sequence[int] | np.ndarray) -> EncodedSplit:
        """Return the given rows, in the given order, without texts or images."""
        return EncodedSplit(
            labels=self.labels[np.asarray(rows, dtype=np.int64)],
            encodings={size: found.take(rows) for size, found in self.encodings.items()},
        )


class Backbone(nn.Module, ABC):
    """A pretrained encoder.

    Attributes:
        identity: What the user called it: a hub id, a package's model or a folder.
        modality: `text` or `image`.
        model: The library's own module, without its classifier.
        depth: Number of blocks.
        width: Size of the pooled features.
        token_width: Size of the last hidden state of a token; that of the features for images.
        fingerprint: 16 hexadecimal digits over architecture and pretrained weights.
        source: Where the weights came from: `package`, `folder`, `hub`, `random`.
    """

    modality: ClassVar[Modality]
    model: Any
    identity: str
    depth: int
    width: int
    token_width: int
    fingerprint: str
    source: str

    def encode(self, split: Split, *, max_length: int, image_size: int) -> Examples:
        """Tokenise or decode every row of a split, unless that was done before.

        Args:
            split: Rows of this backbone's modality.
            max_length: Tokens per text or pair; longer ones are cut and counted.
            image_size: Pixels per side.
        """
        if isinstance(split, EncodedSplit) and (max_length, image_size) in split.encodings:
            return split.encodings[max_length, image_size]
        return self._encode_anew(split, max_length=max_length, image_size=image_size)

    @abstractmethod
    def _encode_anew(self, split: Split, *, max_length: int, image_size: int) -> Examples:
        """Tokenise or decode every row of a split; see `encode`."""

    @abstractmethod
    def collate(self, examples: Examples, rows: Sequence[int] | np.ndarray) -> Batch:
        """Gather rows into one batch on the CPU, padded to the longest of them."""

    @abstractmethod
    def stem(self) -> list[nn.Module]:
        """Return the modules before the first block (embeddings, convolution stem)."""

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """Return the ordered blocks; `len(self.blocks()) == self.depth`."""

    @abstractmethod
    def hidden_states(self, batch: Batch, depths: Sequence[int]) -> dict[int, Tensor]:
        """Return the hidden state after each of the given depths.

        Args:
            batch: From `collate`, on the backbone's device.
            depths: Depth 0 is what the first block receives, depth `self.depth` what the
                last block gives.

        Returns:
            Depth -> `(rows, tokens, width)` for text, `(rows, channels, h, w)` for images.
        """

    @abstractmethod
    def forward(self, batch: Batch, *, start: int = 0, hidden: Tensor | None = None) -> Tensor:
        """Run the blocks from `start` on and pool.

        Args:
            batch: From `collate`, on the backbone's device.
            start: First block to run; `hidden` must be given where it is above 0.
            hidden: The state after depth `start`, padded as `batch` is.

        Returns:
            Pooled features `(rows, width)`.
        """

    def token_states(self, batch: Batch, *, start: int = 0, hidden: Tensor | None = None) -> Tensor:
        """Run the blocks from `start` on, without pooling; the arguments are those of `forward`.

        Returns:
            The last hidden states `(rows, tokens, token_width)`.

        Raises:
            BackboneError: If the backbone takes images.
        """
        raise BackboneError(
            f"the image backbone {self.identity!r} has no tokens", "Choose a backbone for texts"
        )

    @abstractmethod
    def pool(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Pool a hidden state of any depth for probing: `(rows, channels of that depth)`."""

    @abstractmethod
    def blueprint(self) -> dict[str, Any]:
        """Return what `from_blueprint` of its class builds the same architecture from, for JSON."""

    @property
    def weights(self) -> dict[str, Tensor]:
        """Every number of the encoder, by name."""
        return dict(self.model.state_dict())

    @abstractmethod
    def save(
        self,
        folder: Path,
        head: nn.Linear,
        label_names: Sequence[str],
        *,
        kind: Kind,
        image_size: int | None = None,
    ) -> None:
        """Write backbone and head as one model that plain transformers (or timm) loads.

        Args:
            folder: Exists already; files are written into it.
            head: `(outputs, width)` linear layer on the features.
            label_names: Class names; empty where there are none.
            kind: What is predicted from what.
            image_size: Pixels per side that it was trained on; None for those of pretraining,
                and for texts.
        """

    @abstractmethod
    def save_encoder(self, folder: Path) -> None:
        """Write the encoder without a head, so that `load_backbone` gives the same one again.

        Args:
            folder: Exists already; files are written into it.
        """

    def trim_vocabulary(self, examples: Sequence[Examples]) -> None:
        """Leave out the parameters that only other rows than the given ones use.

        What the backbone answers to these rows, and how it learns from them, stays the same;
        other rows are not allowed until `restore_vocabulary`. Images have no vocabulary.

        Args:
            examples: Every row that the backbone will see, encoded.
        """

    def restore_vocabulary(self) -> None:
        """Put back what `trim_vocabulary` left out, as it was: unused rows never learn."""

    def frozen_blocks(self, frozen_fraction: float) -> int:
        """Return how many blocks a frozen fraction freezes, in [0, depth]."""
        return round(frozen_fraction * self.depth)

    def freeze(self, frozen_fraction: float) -> None:
        """Freeze the stem and the first blocks, and thaw the rest; see `freeze_parts`."""
        first = range(self.frozen_blocks(frozen_fraction))
        self.freeze_parts(first, stem=frozen_fraction > 0)

    def freeze_parts(self, blocks: Collection[int], *, stem: bool) -> None:
        """Freeze the given blocks, and thaw the rest.

        Frozen modules need no gradient; `train` keeps them in eval mode (dropout off,
        BatchNorm statistics fixed). With all blocks, what lies above them is frozen too.

        Args:
            blocks: Their numbers, 0 for the lowest.
            stem: Freeze what lies below the blocks, too.
        """
        self.requires_grad_(True)
        self._frozen: list[nn.Module] = self.stem() if stem else []
        self._frozen += [block for at, block in enumerate(self.blocks()) if at in blocks]
        for module in self._frozen:
            module.requires_grad_(False)
        if len(blocks) == self.depth:
            self.requires_grad_(False)
            self._frozen = [self]
        self.train(self.training)

    def train(self, mode: bool = True) -> Backbone:
        """Set training mode everywhere but in the frozen modules."""
        super().train(mode)
        for module in getattr(self, "_frozen", []):
            if module is self:
                super().train(False)
            else:
                module.train(False)
        return self

    @property
    def device(self) -> torch.device:
        """The device the weights are on."""
        return next(self.parameters()).device
