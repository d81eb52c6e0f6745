from __future__ import annotations

import numpy as np

from metaft.prior.recipe_basis import RecipeBasis
from metaft.prior.space import Space
from metaft.recipes import PLAIN, Recipe, design

SPACE = Space.of(design(8, 3))


def test_full_rank_gives_the_kernel_back() -> None:
    basis = RecipeBasis.of(SPACE, [512], rank=len(SPACE))
    functions = basis.expand(SPACE.cells, 512)
    near, far = (
        basis.expand([recipe], 512)[0]
        for recipe in (Recipe(learning_rate=5.1e-5), Recipe(learning_rate=3e-3))
    )
    plain = functions[SPACE.plain]
    np.testing.assert_allclose((functions**2).sum(1), 1.0, atol=1e-6)
    assert plain @ near > 0.99 > 0.5 > plain @ far


def test_rank_bounds_the_functions() -> None:
    assert RecipeBasis.of(SPACE, [512], rank=5).expand([PLAIN], 512).shape == (1, 5)
    one = Space.of([PLAIN])
    assert RecipeBasis.of(one, [512], rank=50).expand([PLAIN], 512).shape[1] <= len(one)


def test_the_directions_that_matter_come_first() -> None:
    functions = RecipeBasis.of(SPACE, [128, 512]).expand(SPACE.cells, 512)
    powers = (functions**2).sum(0)
    assert powers[0] > powers[-1]


def test_a_large_space_is_thinned() -> None:
    recipes = [Recipe(learning_rate=1e-5 * 1.001**step) for step in range(600)]
    basis = RecipeBasis.of(Space.of(recipes), [512])
    assert len(basis.points) <= 400
