"""ProfileForest: randomised trees over the features of a task and the inputs of a recipe.

The trees are kept as plain arrays and walked here: to import scikit-learn takes longer than the
whole answer of a prior that is in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from metaft.prior.averages import kept_effects
from metaft.prior.described import Described, feature_names
from metaft.prior.encoding import encode_recipes
from metaft.prior.scaling import Scaling
from metaft.prior.table import TraceTable
from metaft.recipes import Recipe
from metaft.tasks.task import Sort

TREES = 50
"""More trees predict left-out profiles no better: errors of 5.04 with 25, 5.02 with 50, 5.01 with
100 on the traces of `minilm-text-v1` 0.3.0."""

_SMALLEST_LEAF = 5  # cells
_SHARE_OF_INPUTS = 0.4  # that a split is sought among
_SORTS: tuple[Sort, ...] = get_args(Sort)


@dataclass(frozen=True, eq=False)
class Trees:
    """Decision trees, the nodes of all of them in one row.

    Attributes:
        roots: `(trees,)` number of the first node of each.
        inputs: `(nodes,)` what a node asks for; -1 where it is a leaf.
        thresholds: `(nodes,)` up to which the answer is on the left.
        left, right: `(nodes,)` numbers of the next nodes.
        values: `(nodes,)` mean target of the node.
    """

    roots: np.ndarray
    inputs: np.ndarray
    thresholds: np.ndarray
    left: np.ndarray
    right: np.ndarray
    values: np.ndarray

    @classmethod
    def fit(cls, inputs: np.ndarray, targets: np.ndarray) -> Trees:
        """Grow extremely randomised trees.

        Args:
            inputs: `(examples, inputs)`.
            targets: `(examples,)`.

        Source:
            Geurts, Ernst & Wehenkel (2006), Extremely randomized trees, by scikit-learn.
        """
        from sklearn.ensemble import ExtraTreesRegressor

        forest = ExtraTreesRegressor(
            TREES,
            min_samples_leaf=_SMALLEST_LEAF,
            max_features=_SHARE_OF_INPUTS,
            random_state=0,
        ).fit(inputs, targets)
        trees = [estimator.tree_ for estimator in forest.estimators_]
        sizes = [tree.node_count for tree in trees]
        roots = np.cumsum([0, *sizes[:-1]])
        starts = np.repeat(roots, sizes)
        return cls(
            roots=roots,
            inputs=np.concatenate([np.maximum(tree.feature, -1) for tree in trees]),
            thresholds=np.concatenate([tree.threshold for tree in trees]),
            left=starts + np.concatenate([tree.children_left for tree in trees]),
            right=starts + np.concatenate([tree.children_right for tree in trees]),
            values=np.concatenate([tree.value[:, 0, 0] for tree in trees]),
        )

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Return the mean over the trees `(examples,)`."""
        asked = inputs.astype(np.float32)  # as the trees were grown
        nodes = np.tile(self.roots, (len(asked), 1))
        examples = np.arange(len(asked))[:, None]
        while (inner := self.inputs[nodes] >= 0).any():
            is_left = asked[examples, self.inputs[nodes]] <= self.thresholds[nodes]
            following = np.where(is_left, self.left[nodes], self.right[nodes])
            nodes = np.where(inner, following, nodes)
        means: np.ndarray = self.values[nodes].mean(1)
        return means


@dataclass(frozen=True, eq=False)
class ProfileForest:
    """What trees expect of recipes on a task; see the module.

    Attributes:
        scaling: Of the features.
        trees: Grown on all cells of the training blocks.
    """

    scaling: Scaling
    trees: Trees

    @classmethod
    def fit(cls, table: TraceTable, rows: Sequence[Described]) -> ProfileForest:
        """Fit to every recorded cell of the training blocks."""
        scaling = Scaling.fit(feature_names(rows), rows)
        inputs, targets = [], []
        for row, effects in zip(rows, kept_effects(table), strict=True):
            known = np.isfinite(effects)
            inputs.append(_inputs(table.space.cells, scaling, row)[known])
            targets.append(effects[known])
        return cls(scaling, Trees.fit(np.concatenate(inputs), np.concatenate(targets)))

    def predict(self, row: Described, recipes: Sequence[Recipe]) -> np.ndarray:
        """Return the effects `(recipes,)` expected on a task, in points around their mean."""
        effects = self.trees.predict(_inputs(recipes, self.scaling, row))
        centred: np.ndarray = effects - effects.mean()
        return centred


def _inputs(recipes: Sequence[Recipe], scaling: Scaling, row: Described) -> np.ndarray:
    """Return `(recipes, inputs)`: the recipe, the task's features, the sort of its answers."""
    encoded = encode_recipes(recipes, row.train_rows)
    sort = [float(row.block.sort == sort) for sort in _SORTS]
    of_task = np.concatenate([scaling.apply(row), sort])
    return np.concatenate([encoded, np.tile(of_task, (len(encoded), 1))], axis=1)
