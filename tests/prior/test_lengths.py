from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from metaft.prior.described import Described
from metaft.prior.lengths import AS_RECORDED, length_for, lengthened
from metaft.prior.prior import Prior


@pytest.fixture
def prior(world_prior: Path) -> Prior:
    return Prior.load(world_prior)


def _with_tokens(row: Described, tokens: float) -> Described:
    names = ("q05", "q25", "q50", "q75", "q95")
    levels = {f"log2_tokens_{name}": math.log2(tokens) for name in names}
    return dataclasses.replace(row, values={**row.values, **levels})


@pytest.mark.parametrize(
    ("tokens", "length"), [(9, AS_RECORDED), (128, AS_RECORDED), (129, 192), (200, 256), (900, 256)]
)
def test_95_percent_of_the_rows_fit_in(prior: Prior, tokens: int, length: int) -> None:
    row = _with_tokens(prior.fitted.described[0], tokens)
    assert length_for(row) == length


def test_unknown_lengths_are_usual(prior: Prior) -> None:
    row = dataclasses.replace(prior.fitted.described[0], values={})
    assert length_for(row) == AS_RECORDED


def test_longer_texts_cost_more_and_change_no_score(prior: Prior) -> None:
    models = prior.fitted.models
    row = _with_tokens(prior.fitted.described[0], 300)
    shorter, longer = models.look_at(row), lengthened(models, 512).look_at(row)
    assert np.array_equal(shorter.scores(0.5), longer.scores(0.5))
    assert (longer.run_seconds > shorter.run_seconds).all()
    assert lengthened(models, AS_RECORDED) is models
