"""CostModel: seconds and memory of a run, from counted work and fitted prices.

The work is counted from recipe, rows and backbone; the prices (seconds per unit of work,
MiB per unit of memory) are fitted to the traces. So they hold for the machine that recorded
the traces, and for one thread of it with a core of its own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaft.features.dataset import TOKEN_LEVELS
from metaft.finetuning.batches import EVALUATION_TOKENS
from metaft.prior.described import Described
from metaft.prior.space import Space
from metaft.prior.table import TraceTable
from metaft.recipes import Recipe
from metaft.traces.trace import VALIDATION_ROWS

_FORWARD_SHARE = 1 / 3  # of a training step: backward costs about twice the forward pass
_PIXELS_PER_UNIT = 32 * 32  # what one token is to a text, a tile of this size is to an image
_UNKNOWN_TOKENS = 64.0
_BYTES_PER_WEIGHT = 4
_BYTES_PER_LEARNED = 16  # weight, gradient and two moments of AdamW, each float32
_GIGA, _MEBI = 1e9, float(1 << 20)
_BLOCKS_KEPT = 1024  # a validation fits hundreds of times to the same blocks


@dataclass(frozen=True, eq=False)
class CostModel:
    """Prices of counted work.

    Attributes:
        space: The cells.
        second_prices: Seconds per unit of each kind of work, >= 0; see `_Amounts`.
        memory_prices: MiB per unit of each kind of memory, >= 0; see `_Amounts`.
    """

    space: Space
    second_prices: np.ndarray
    memory_prices: np.ndarray

    @classmethod
    def fit(cls, table: TraceTable, rows: Sequence[Described]) -> CostModel:
        """Fit the prices to the training blocks, by relative error."""
        amounts = [_Amounts.count(table.space, row) for row in rows]
        work = np.array([counted.work for counted in amounts])
        memory = np.array([counted.memory for counted in amounts])
        return cls(
            space=table.space,
            second_prices=_fit_prices(work, table.train_seconds),
            memory_prices=_fit_prices(memory, table.peak_memory_mib),
        )

    def training_seconds(self, row: Described) -> np.ndarray:
        """Return the seconds `(cells,)` of the training steps alone."""
        seconds: np.ndarray = _Amounts.count(self.space, row).work @ self.second_prices
        return seconds

    def run_seconds(self, row: Described, scored_rows: int = VALIDATION_ROWS) -> np.ndarray:
        """Return the seconds `(cells,)` of a whole run, up to its last score.

        Beside the training steps these are the one pass through the frozen blocks and the
        forward passes over the scored rows, priced like the forward part of training.

        Args:
            row: Task, size and backbone.
            scored_rows: Rows that are scored after every epoch: those of validation, and those
                of test where a run is recorded.
        """
        counted = _Amounts.count(self.space, row, scored_rows)
        forward_price = self.second_prices[0] * _FORWARD_SHARE
        seconds: np.ndarray = counted.work @ self.second_prices + forward_price * counted.passes
        return seconds

    def for_recipes(self, recipes: Sequence[Recipe]) -> CostModel:
        """Return the same prices for other recipes than those of the prior's space."""
        cells = tuple(recipes)
        space = Space(cells, np.arange(len(cells)))
        return CostModel(space, self.second_prices, self.memory_prices)

    def peak_memory_mib(self, row: Described) -> np.ndarray:
        """Return the peak memory `(cells,)` of a run in MiB."""
        peak: np.ndarray = _Amounts.count(self.space, row).memory @ self.memory_prices
        return peak


@dataclass(frozen=True, eq=False)
class _Amounts:
    """What a run of each cell takes, counted.

    Attributes:
        work: `(cells, 4)` of the training steps: multiplications of the learning blocks
            (10^9), parameters updated (10^9), rows gathered (10^3), steps taken (10^3).
        passes: `(cells,)` multiplications (10^9) outside the training steps.
        memory: `(cells, 5)` in MiB: a constant, all weights, what the optimiser keeps for
            what learns, activations of the longest training batch, attention over the longest
            rows that are scored.
    """

    work: np.ndarray
    passes: np.ndarray
    memory: np.ndarray

    @classmethod
    @functools.lru_cache(maxsize=_BLOCKS_KEPT)
    def count(cls, space: Space, row: Described, scored_rows: int = VALIDATION_ROWS) -> _Amounts:
        """Count for every cell, on a task and backbone; it never changes, so it is kept."""
        epochs, batch_size = space.epochs, _field(space, "batch_size")
        frozen = _field(space, "frozen_fraction")
        units, longest = _units_of(space, row), _longest_units_of(space, row)
        blocks = _block_parameters(row)
        depth = _known(row, "backbone_depth", 6.0)
        learning = blocks * (1.0 - np.round(frozen * depth) / depth)
        # Embeddings learn where nothing is frozen.
        learned = np.where(frozen == 0, _parameters(row), learning)
        steps = epochs * np.ceil(row.train_rows / batch_size)
        rows = epochs * row.train_rows
        frozen_once = (row.train_rows + scored_rows) * (blocks - learning)
        scoring = epochs * scored_rows * learning
        width = 2.0 ** _known(row, "backbone_log2_width", 8.0)
        constant = np.ones(len(space))
        work = [rows * units * learning / _GIGA, steps * learned / _GIGA, rows / 1e3, steps / 1e3]
        memory = [
            constant,
            constant * _BYTES_PER_WEIGHT * _parameters(row) / _MEBI,
            _BYTES_PER_LEARNED * learned / _MEBI,
            _BYTES_PER_WEIGHT * batch_size * longest * learning / width / _MEBI,
            # Scoring passes through what learns; below that the hidden states are cached.
            (learning > 0) * _BYTES_PER_WEIGHT * EVALUATION_TOKENS * longest * width / _MEBI,
        ]
        return cls(
            work=np.stack(work, axis=1),
            passes=units * (frozen_once + scoring) / _GIGA,
            memory=np.stack(memory, axis=1),
        )


def _field(space: Space, name: str) -> np.ndarray:
    return np.array([getattr(cell, name) for cell in space.cells])


def _units_of(space: Space, row: Described) -> np.ndarray:
    """Return what a row costs `(cells,)`: tokens up to the recipe's length, or image tiles."""
    if row.values.get("is_image") == 1.0:
        return _field(space, "image_size") ** 2 / _PIXELS_PER_UNIT
    longest = _field(space, "max_length")
    log2_tokens = row.vector(tuple(TOKEN_LEVELS))
    if np.isnan(log2_tokens).any():
        return np.minimum(_UNKNOWN_TOKENS, longest)
    shares = np.linspace(0.0, 1.0, 101)
    tokens = 2.0 ** np.interp(shares, list(TOKEN_LEVELS.values()), log2_tokens)
    means: np.ndarray = np.minimum(tokens[None, :], longest[:, None]).mean(1)
    return means


def _longest_units_of(space: Space, row: Described) -> np.ndarray:
    """Return what the longest rows cost `(cells,)`; a batch takes the memory of its longest.

    The lengths of texts are skewed in their logarithm, too: the longest of some thousand lie about
    as far above the 95 % quantile as that above the 75 % one (docs/prior.md).
    """
    if row.values.get("is_image") == 1.0:
        return _units_of(space, row)
    q75, q95 = row.vector(("log2_tokens_q75", "log2_tokens_q95"))
    if math.isnan(q75 + q95):
        return _units_of(space, row)
    longest: np.ndarray = np.minimum(2.0 ** (2.0 * q95 - q75), _field(space, "max_length"))
    return longest


def _parameters(row: Described) -> float:
    return float(10.0 ** _known(row, "backbone_log10_parameters", 7.0))


def _block_parameters(row: Described) -> float:
    """Return the parameters of all blocks; a transformer block has 12 x width^2."""
    if row.values.get("is_image") == 1.0:
        return _parameters(row)
    width = 2.0 ** _known(row, "backbone_log2_width", 8.0)
    return min(_parameters(row), 12.0 * _known(row, "backbone_depth", 6.0) * width**2)


def _known(row: Described, feature: str, otherwise: float) -> float:
    value = row.values.get(feature, math.nan)
    return otherwise if math.isnan(value) else value


def _fit_prices(amounts: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Fit prices >= 0 so that the relative errors are small.

    Args:
        amounts: `(blocks, cells, kinds)`.
        observed: `(blocks, cells)`, NaN where unknown.

    Returns:
        `(kinds,)`; zeros where nothing was observed.
    """
    from scipy.optimize import nnls

    known = np.isfinite(observed) & (observed > 0)
    if not known.any():
        return np.zeros(amounts.shape[-1])
    relative = amounts[known] / observed[known][:, None]
    scale = np.maximum(np.abs(relative).max(0), 1e-12)
    prices: np.ndarray = nnls(relative / scale, np.ones(len(relative)))[0] / scale
    # Least squares on relative errors leans to the low side; the middle error shall be 0.
    return prices / np.median(relative @ prices)
