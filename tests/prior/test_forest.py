from __future__ import annotations

import numpy as np
from sklearn.tree import ExtraTreeRegressor

from metaft.prior import forest
from metaft.prior.forest import Forest


def test_answers_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(120, 6))
    targets = inputs[:, 0] * inputs[:, 1] + rng.normal(size=120)
    asked = rng.normal(size=(50, 6))
    trees = [
        ExtraTreeRegressor(min_samples_leaf=5, max_features=0.4, random_state=number)
        for number in range(forest.TREES)
    ]
    expected = np.mean([tree.fit(inputs, targets).predict(asked) for tree in trees], axis=0)
    np.testing.assert_allclose(Forest.grow(inputs, targets).predict(asked), expected, atol=1e-12)


def test_interactions_are_found() -> None:
    rng = np.random.default_rng(1)
    inputs = rng.uniform(-1, 1, size=(600, 4))
    targets = np.sign(inputs[:, 0] * inputs[:, 1])
    asked = rng.uniform(-1, 1, size=(200, 4))
    predicted = Forest.grow(inputs, targets).predict(asked)
    assert np.corrcoef(predicted, asked[:, 0] * asked[:, 1])[0, 1] > 0.8


def test_a_single_leaf_answers() -> None:
    leaf = Forest.grow(np.zeros((3, 2)), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(leaf.predict(np.ones((4, 2))), 2.0)
