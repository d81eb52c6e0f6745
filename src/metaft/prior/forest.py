"""A forest of extremely randomised trees as plain arrays, so that asking it imports little.

scikit-learn grows the trees; they are then read out into arrays, which load and answer in
milliseconds without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

TREES = 100
_FEWEST_ROWS_PER_LEAF = 5
_SHARE_OF_INPUTS_PER_SPLIT = 0.4


@dataclass(frozen=True, eq=False)
class Forest:
    """Regression trees; every array is `(trees, nodes)`, padded with leaves.

    Attributes:
        left, right: Node that follows; a leaf follows itself.
        inputs: Input that a node splits on.
        thresholds: Values up to this go left.
        values: Prediction at the node.
    """

    left: np.ndarray
    right: np.ndarray
    inputs: np.ndarray
    thresholds: np.ndarray
    values: np.ndarray
    depth: int

    @classmethod
    def grow(cls, inputs: np.ndarray, targets: np.ndarray, *, seed: int = 0) -> Forest:
        """Fit extra trees.

        Args:
            inputs: `(rows, inputs)`, without NaN.
            targets: `(rows,)`.
            seed: Seed of the splits.

        Source:
            Geurts, Ernst & Wehenkel (2006), Extremely randomized trees.
        """
        from sklearn import config_context
        from sklearn.tree import ExtraTreeRegressor

        inputs = np.ascontiguousarray(inputs, dtype=np.float32)
        targets = np.ascontiguousarray(targets[:, None], dtype=np.float64)
        # ExtraTreesRegressor grows the same trees, but spends most of its time on copying
        # and checking parameters; a validation grows hundreds of small forests.
        with config_context(skip_parameter_validation=True):
            grown = [
                ExtraTreeRegressor(
                    min_samples_leaf=_FEWEST_ROWS_PER_LEAF,
                    max_features=_SHARE_OF_INPUTS_PER_SPLIT,
                    random_state=TREES * seed + number,
                ).fit(inputs, targets, check_input=False)
                for number in range(TREES)
            ]
        return cls._read_out([tree.tree_ for tree in grown])

    @classmethod
    def _read_out(cls, trees: Sequence[Any]) -> Forest:
        shape = (len(trees), max(tree.node_count for tree in trees))
        own = np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape)
        left, right = own.copy(), own.copy()
        inputs = np.zeros(shape, dtype=np.int32)
        thresholds, values = np.zeros(shape), np.zeros(shape)
        for at, tree in enumerate(trees):
            inner = np.flatnonzero(tree.children_left >= 0)
            left[at, inner] = tree.children_left[inner]
            right[at, inner] = tree.children_right[inner]
            inputs[at, inner] = tree.feature[inner]
            thresholds[at, inner] = tree.threshold[inner]
            values[at, : tree.node_count] = tree.value[:, 0, 0]
        return cls(left, right, inputs, thresholds, values, max(t.max_depth for t in trees))

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Return the mean prediction of the trees `(rows,)` for inputs `(rows, inputs)`."""
        inputs = inputs.astype(np.float32)  # as the thresholds were found
        trees = np.arange(len(self.left))[:, None]  # (trees, 1)
        rows = np.arange(len(inputs))[None, :]  # (1, rows)
        nodes = np.zeros((len(self.left), len(inputs)), dtype=np.int32)
        for _ in range(self.depth):
            values = inputs[rows, self.inputs[trees, nodes]]
            goes_left = values <= self.thresholds[trees, nodes]
            nodes = np.where(goes_left, self.left[trees, nodes], self.right[trees, nodes])
        mean: np.ndarray = self.values[trees, nodes].mean(0)
        return mean
