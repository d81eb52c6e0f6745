"""Searches: rivals that make several runs on the task itself and keep the best on validation.

Each run is one that was recorded, so a search can try no recipe twice and no other one, and
where fewer recipes were recorded than it has trials it ends with the best of all of them.
"""

from __future__ import annotations

import math

import numpy as np

from metaft.prior.chosen import Chooser, Chosen, full_budgets
from metaft.prior.leaving_out import LeftOut
from metaft.prior.table import TraceTable

SEARCH_DRAWS = 200
"""Random searches are repeated this often, since one is luck."""

KEPT_SHARE = 3
"""Successive halving goes on with one recipe in three, the usual share.

Source:
    Li et al. (2020), A system for massively parallel hyperparameter tuning.
"""


def random_search(trials: int) -> Chooser:
    """Return the chooser that tries random recipes and keeps the best on validation."""

    def take(table: TraceTable, left: LeftOut) -> Chosen | None:
        tried = _draw(table, left, trials)
        return None if tried is None else best_tried(table, left.row, tried)

    return take


def halving_search(recipes: int) -> Chooser:
    """Return the chooser that trains random recipes for an epoch and goes on with the best.

    This is what awareness of cost gives without anything learned from other tasks. All
    recipes are trained for one epoch; the third that is best on validation goes on to a third
    of the epochs, and so forth, until one reaches the largest budget. Of 6 epochs, 3 recipes
    spend 3 x 1 + 5 = 8, and 9 recipes 9 x 1 + 3 x 1 + 4 = 16; runs are continued, not begun
    again.

    Args:
        recipes: How many it begins with; a power of three.
    """

    def take(table: TraceTable, left: LeftOut) -> Chosen | None:
        tried = _draw(table, left, recipes)
        return None if tried is None else _halve(table, left.row, tried)

    return take


def portfolio_search(size: int) -> Chooser:
    """Return the chooser that tries the recipes that together leave least regret elsewhere."""

    def take(table: TraceTable, left: LeftOut) -> Chosen | None:
        tried = find_portfolio(table, left, size)
        return best_tried(table, left.row, tried[None]) if len(tried) else None

    return take


def find_portfolio(table: TraceTable, left: LeftOut, size: int) -> np.ndarray:
    """Return the recorded cells of a block that together leave least regret elsewhere.

    They are found greedily over the training blocks most alike in sort, backbone and size.
    A portfolio of one would be best-average.
    """
    block, model = table.blocks[left.row], left.averages
    effects = model.effects[model.alike(block)]
    recorded = np.flatnonzero(np.isfinite(table.validation[left.row]))
    return recorded[_portfolio(effects[:, recorded], size)] if len(recorded) else recorded


def best_tried(table: TraceTable, row: int, tried: np.ndarray) -> Chosen:
    """Take the best on validation of the cells `(draws, trials)` that a search ran."""
    best = table.validation[row][tried].argmax(1)
    seconds = known_seconds(table, row)[tried].sum(1).mean()
    return Chosen(tried[np.arange(len(tried)), best], float(seconds), tried.shape[1])


def cells_to_try(table: TraceTable, row: int) -> np.ndarray | None:
    """Return what a search of a block can run; None where it was not validated."""
    full = full_budgets(table, row)
    return full if np.isfinite(table.validation[row, full]).all() else None


def _draw(table: TraceTable, left: LeftOut, trials: int) -> np.ndarray | None:
    """Return random full-budget cells `(draws, trials)`, at most all that there are."""
    full = cells_to_try(table, left.row)
    if full is None:
        return None
    rng = np.random.default_rng([trials, left.row])
    return rng.permuted(np.tile(full, (SEARCH_DRAWS, 1)), axis=1)[:, :trials]


def _halve(table: TraceTable, row: int, tried: np.ndarray) -> Chosen:
    """Train all, keep the best third, go on; every rung pays for what it adds."""
    at_budget = _cells_at_budgets(table, row)
    costs = np.stack([known_seconds(table, row), table.space.epochs])  # (2, cells)
    most = int(table.space.epochs[tried].max())
    spent, paid = np.zeros(2), np.zeros((2, *tried.shape))
    reached = tried
    for rung in _rungs(tried.shape[1], most):
        reached = at_budget[table.space.families[tried], rung]
        spent += (costs[:, reached] - paid).sum(2).mean(1)
        best_first = np.argsort(-table.validation[row][reached], axis=1, kind="stable")
        kept = best_first[:, : max(1, tried.shape[1] // KEPT_SHARE)]
        tried, reached = (np.take_along_axis(cells, kept, 1) for cells in (tried, reached))
        paid = costs[:, reached]
    return Chosen(reached[:, 0], float(spent[0]), float(spent[1]) / most)


def _rungs(recipes: int, most_epochs: int) -> list[int]:
    """Return the epochs at which a field of so many recipes is cut, the last one being all."""
    cuts = max(1, math.ceil(math.log(recipes, KEPT_SHARE) - 1e-9))
    later = [max(1, round(most_epochs / KEPT_SHARE**left)) for left in reversed(range(cuts))]
    return [1, *later]


def _cells_at_budgets(table: TraceTable, row: int) -> np.ndarray:
    """Return `(families, epochs + 1)` the recorded cell of at least so many epochs.

    The longest of the family where none has as many.
    """
    families, epochs = table.space.families, table.space.epochs
    cells = np.zeros((families.max() + 1, epochs.max() + 1), dtype=int)
    recorded = np.flatnonzero(np.isfinite(table.validation[row]))
    for cell in recorded[np.argsort(epochs[recorded], kind="stable")].tolist():
        cells[families[cell], epochs[cell] :] = cell
    for cell in recorded[np.argsort(-epochs[recorded], kind="stable")].tolist():
        cells[families[cell], : epochs[cell] + 1] = cell
    return cells


def known_seconds(table: TraceTable, row: int) -> np.ndarray:
    """Return run times `(cells,)`; a run that failed took as long as others of its budget."""
    seconds = table.run_seconds[row].copy()
    for epochs in np.unique(table.space.epochs):
        same = table.space.epochs == epochs
        known = seconds[same & np.isfinite(seconds)]
        seconds[same & np.isnan(seconds)] = known.mean() if len(known) else np.nan
    return seconds


def _portfolio(effects: np.ndarray, size: int) -> np.ndarray:
    """Return the cells `(size,)` that greedily lift the best of them most, averaged over blocks.

    Args:
        effects: `(blocks, cells)`; what a block lacks counts as its worst cell, and a block that
            lacks all says nothing.
        size: Cells to choose, at most all; none where no block says anything.
    """
    effects = effects[np.isfinite(effects).any(axis=1)]
    if not len(effects):
        return np.zeros(0, dtype=int)
    worst = np.nanmin(effects, axis=1, keepdims=True)
    known = np.where(np.isnan(effects), worst, effects)
    best = np.full((len(known), 1), -np.inf)
    chosen: list[int] = []
    for _ in range(min(size, known.shape[1])):
        lifted = np.maximum(known, best).mean(0)
        lifted[chosen] = -np.inf
        chosen.append(int(lifted.argmax()))
        best = np.maximum(best, known[:, chosen[-1:]])
    return np.array(chosen)
