"""CostModel: seconds and memory of a run, from counted work and fitted prices.

The work is counted from recipe, rows and backbone; the prices (seconds per unit of work,
MiB per unit of memory) are fitted to the traces. So they hold for the machine that recorded
the traces, and for one thread of it with a core of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaft.features.dataset import TOKEN_LEVELS
from metaft.prior.described import Described
from metaft.prior.encoding import steps_of
from metaft.prior.space import Space
from metaft.prior.table import TraceTable
from metaft.recipes import Recipe
from metaft.traces.trace import VALIDATION_ROWS

_FORWARD_SHARE = 1 / 3  # of a training step: backward costs about twice the forward pass
_PIXELS_PER_UNIT = 32 * 32  # what one token is to a text, a tile of this size is to an image
_UNKNOWN_TOKENS = 64.0
_BYTES_PER_LEARNED = 16  # weight, gradient and two moments of AdamW, each float32
_GIGA, _MEBI = 1e9, float(1 << 20)


@dataclass(frozen=True, eq=False)
class CostModel:
    """Prices of counted work.

    Attributes:
        space: The cells.
        second_prices: Seconds per unit of each kind of work, >= 0; see `_work_of`.
        memory_prices: MiB per unit of each kind of memory, >= 0; see `_memory_of`.
    """

    space: Space
    second_prices: np.ndarray
    memory_prices: np.ndarray

    @classmethod
    def fit(cls, table: TraceTable, rows: Sequence[Described]) -> CostModel:
        """Fit the prices to the training blocks, by relative error."""
        work = np.array([[_work_of(cell, row) for cell in table.space.cells] for row in rows])
        memory = np.array([[_memory_of(cell, row) for cell in table.space.cells] for row in rows])
        return cls(
            space=table.space,
            second_prices=_fit_prices(work, table.train_seconds),
            memory_prices=_fit_prices(memory, table.peak_memory_mib),
        )

    def training_seconds(self, row: Described) -> np.ndarray:
        """Return the seconds `(cells,)` of the training steps alone."""
        work = np.array([_work_of(cell, row) for cell in self.space.cells])
        seconds: np.ndarray = work @ self.second_prices
        return seconds

    def run_seconds(self, row: Described) -> np.ndarray:
        """Return the seconds `(cells,)` of a whole run, up to its last validation score.

        Beside the training steps these are the one pass through the frozen blocks and the
        forward passes over the validation rows, priced like the forward part of training.
        """
        price = self.second_prices[0] * _FORWARD_SHARE
        passes = np.array([_forward_work_of(cell, row) for cell in self.space.cells])
        return self.training_seconds(row) + price * passes

    def peak_memory_mib(self, row: Described) -> np.ndarray:
        """Return the peak memory `(cells,)` of a run in MiB."""
        memory = np.array([_memory_of(cell, row) for cell in self.space.cells])
        peak: np.ndarray = memory @ self.memory_prices
        return peak


def _work_of(recipe: Recipe, row: Described) -> list[float]:
    """Count the work of the training steps of a run.

    Returns:
        Multiplications of the learning blocks (10^9), parameters updated (10^9), rows
        gathered (10^3), steps taken (10^3).
    """
    rows = recipe.epochs * row.train_rows
    steps = steps_of(recipe, row.train_rows)
    return [
        rows * _units_of(recipe, row) * _learning_blocks(recipe, row) / _GIGA,
        steps * _learned_parameters(recipe, row) / _GIGA,
        rows / 1e3,
        steps / 1e3,
    ]


def _forward_work_of(recipe: Recipe, row: Described) -> float:
    """Count the multiplications (10^9) of a run outside its training steps."""
    learning, blocks = _learning_blocks(recipe, row), _block_parameters(row)
    once = (row.train_rows + VALIDATION_ROWS) * (blocks - learning)
    validation = recipe.epochs * VALIDATION_ROWS * learning
    return _units_of(recipe, row) * (once + validation) / _GIGA


def _memory_of(recipe: Recipe, row: Described) -> list[float]:
    """Count the memory of a run in MiB: a constant, all weights, what learns, activations."""
    activations = recipe.batch_size * _units_of(recipe, row) * _learning_blocks(recipe, row)
    width = 2.0 ** _known(row, "backbone_log2_width", 8.0)
    return [
        1.0,
        4 * _parameters(row) / _MEBI,
        _BYTES_PER_LEARNED * _learned_parameters(recipe, row) / _MEBI,
        4 * activations / width / _MEBI,
    ]


def _units_of(recipe: Recipe, row: Described) -> float:
    """Return what a row costs: tokens of a text, cut to the recipe's length, or image tiles."""
    if row.values.get("is_image") == 1.0:
        return recipe.image_size**2 / _PIXELS_PER_UNIT
    log2_tokens = row.vector(tuple(TOKEN_LEVELS))
    if np.isnan(log2_tokens).any():
        return min(_UNKNOWN_TOKENS, recipe.max_length)
    shares = np.linspace(0.0, 1.0, 101)
    tokens = 2.0 ** np.interp(shares, list(TOKEN_LEVELS.values()), log2_tokens)
    return float(np.minimum(tokens, recipe.max_length).mean())


def _parameters(row: Described) -> float:
    return float(10.0 ** _known(row, "backbone_log10_parameters", 7.0))


def _block_parameters(row: Described) -> float:
    """Return the parameters of all blocks; a transformer block has 12 x width^2."""
    if row.values.get("is_image") == 1.0:
        return _parameters(row)
    width = 2.0 ** _known(row, "backbone_log2_width", 8.0)
    return min(_parameters(row), 12.0 * _known(row, "backbone_depth", 6.0) * width**2)


def _learning_blocks(recipe: Recipe, row: Described) -> float:
    """Return the parameters of the blocks that are not frozen."""
    depth = _known(row, "backbone_depth", 6.0)
    return _block_parameters(row) * (1.0 - round(recipe.frozen_fraction * depth) / depth)


def _learned_parameters(recipe: Recipe, row: Described) -> float:
    """Return the parameters that the optimiser updates; embeddings learn if nothing is frozen."""
    if recipe.frozen_fraction == 0:
        return _parameters(row)
    return _learning_blocks(recipe, row)


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
