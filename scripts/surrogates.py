"""Rivals of the prior's surrogate: other models of profiles, fitted to the same blocks.

Each is fitted to training blocks and answers for a described block with effects `(cells,)`. All
see the same encoded recipes and standardised features, and losses up to the same bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV

from metaft.features.extract import FEATURES
from metaft.prior.averages import Averages, effects_of, mean_known
from metaft.prior.described import Described
from metaft.prior.encoding import encode_recipes
from metaft.prior.places import FEATURE_GROUPS, Tuning
from metaft.prior.profiles import ProfileProcess, kept_points
from metaft.prior.scaling import Scaling
from metaft.prior.space import Space
from metaft.prior.table import TraceTable

Answer = Callable[[Described], np.ndarray]
Fit = Callable[[TraceTable, Sequence[Described]], Answer]

NEIGHBOURS = 10
FACTORS = 4
PENALTIES = np.geomspace(0.1, 1000.0, 13)
_TREES = 100


def fit_process(
    groups: Mapping[str, tuple[str, ...]] = FEATURE_GROUPS, tuning: Tuning | None = None
) -> Fit:
    """Return what fits the prior's own process, with some groups of features."""

    def fit(table: TraceTable, rows: Sequence[Described]) -> Answer:
        process = ProfileProcess.fit(table, rows, tuning, groups=groups)

        def answer(row: Described) -> np.ndarray:
            functions = process.basis.expand(table.space.cells, row.train_rows)
            profile = process.predict(row, functions)
            return profile.effects

        return answer

    return fit


def fit_average(table: TraceTable, _rows: Sequence[Described]) -> Answer:
    """Average the blocks most alike in backbone and size; features do not count."""
    averages = Averages.of(table)
    return lambda row: averages.over_alike(row.block)


def fit_cut_average(table: TraceTable, _rows: Sequence[Described]) -> Answer:
    """Average all blocks, losses cut as the other models see them."""
    mean = mean_known(_kept_effects(table), 0)
    return lambda row: mean


def fit_committee(table: TraceTable, rows: Sequence[Described]) -> Answer:
    """Take the mean of process, forest and neighbours."""
    answers = [fit(table, rows) for fit in (fit_process(), fit_forest, fit_neighbours)]

    def answer(row: Described) -> np.ndarray:
        opinions = [given(row) for given in answers]
        return np.mean([opinion - np.nanmean(opinion) for opinion in opinions], axis=0)

    return answer


def fit_forest(table: TraceTable, rows: Sequence[Described]) -> Answer:
    """Fit extremely randomised trees over features and recipe."""
    forest = ExtraTreesRegressor(_TREES, min_samples_leaf=5, max_features=0.4, random_state=0)
    return _fit_regressor(forest, table, rows)


def fit_boosting(table: TraceTable, rows: Sequence[Described]) -> Answer:
    """Fit boosted trees over features and recipe."""
    boosting = HistGradientBoostingRegressor(
        max_iter=200, learning_rate=0.05, max_leaf_nodes=16, min_samples_leaf=20, random_state=0
    )
    return _fit_regressor(boosting, table, rows)


def fit_neighbours(table: TraceTable, rows: Sequence[Described]) -> Answer:
    """Average the nearest blocks of the same backbone by all features, size among them."""
    scaling = Scaling.fit(FEATURES, rows)
    positions = np.array([scaling.apply(row) for row in rows])
    effects = _kept_effects(table)
    backbones = np.array([row.backbone for row in rows])

    def answer(row: Described) -> np.ndarray:
        away = ((positions - scaling.apply(row)) ** 2).sum(1)
        other = (backbones != row.backbone) & (row.backbone in backbones)
        nearest = np.argsort(np.where(other, np.inf, away), kind="stable")[:NEIGHBOURS]
        near, everywhere = mean_known(effects[nearest], 0), mean_known(effects, 0)
        return np.where(np.isnan(near), everywhere, near)

    return answer


def fit_factors(table: TraceTable, rows: Sequence[Described]) -> Answer:
    """Regress the leading factors of the profiles on the features, by ridge."""
    scaling = Scaling.fit(FEATURES, rows)
    positions = np.array([scaling.apply(row) for row in rows])
    effects = _kept_effects(table)
    mean = mean_known(effects, 0)
    left, strengths, axes = np.linalg.svd(np.nan_to_num(effects - mean), full_matrices=False)
    loadings = (left * strengths)[:, :FACTORS]
    ridge = RidgeCV(alphas=PENALTIES, alpha_per_target=True).fit(positions, loadings)

    def answer(row: Described) -> np.ndarray:
        position = scaling.apply(row)
        predicted = ridge.predict(position[None])[0]
        return np.asarray(mean + predicted @ axes[:FACTORS])

    return answer


def _fit_regressor(
    regressor: ExtraTreesRegressor | HistGradientBoostingRegressor,
    table: TraceTable,
    rows: Sequence[Described],
) -> Answer:
    scaling = Scaling.fit(FEATURES, rows)
    effects = _kept_effects(table)
    inputs, targets = [], []
    for row, own in zip(rows, effects, strict=True):
        known = np.isfinite(own)
        inputs.append(_inputs(table.space, scaling.apply(row), row.train_rows)[known])
        targets.append(own[known])
    regressor.fit(np.concatenate(inputs), np.concatenate(targets))
    return lambda row: regressor.predict(_inputs(table.space, scaling.apply(row), row.train_rows))


def _inputs(space: Space, position: np.ndarray, train_rows: int) -> np.ndarray:
    recipes = encode_recipes(space.cells, train_rows)
    repeated = np.broadcast_to(position, (len(recipes), len(position)))
    return np.concatenate([recipes, repeated], axis=1)


def _kept_effects(table: TraceTable) -> np.ndarray:
    return effects_of(np.array([kept_points(scores) for scores in table.test]))


SURROGATES: dict[str, Fit] = {
    "process": fit_process(),
    "committee": fit_committee,
    "pooled": fit_process({}),
    "forest": fit_forest,
    "boosting": fit_boosting,
    "neighbours": fit_neighbours,
    "factors": fit_factors,
    "cut average": fit_cut_average,
    "average": fit_average,
}
"""Name -> how it is fitted; pooled and the averages do not know the features."""
