from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metaft.prior.costs import CostModel
from metaft.prior.space import Space
from metaft.studying import forecast as forecast_module
from metaft.studying.forecast import forecast
from metaft.studying.plan import plan_study
from metaft.traces.store import TraceStore

SECONDS_PER_STEP = 3.0


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    return TraceStore(f"sqlite:///{tmp_path}/traces.db")


def test_what_is_not_stored_is_priced_by_the_prior(card_of, store, monkeypatch) -> None:
    """Prices: nothing but the steps, in thousands."""
    prices = np.array([0.0, 0.0, 0.0, 1000 * SECONDS_PER_STEP])
    model = CostModel(Space((), np.arange(0)), prices, np.zeros(4))
    monkeypatch.setattr(forecast_module, "_cost_model", lambda backbone, modality: model)
    levels = {"16": {"batch_size": 16}, "8": {"batch_size": 8}}
    plan = plan_study(card_of(factors={"batch": levels}, seeds=2), "small", store)
    expected = forecast(plan, store, workers=2)
    assert (expected.runs, expected.from_prior, expected.unknown) == (8, 8, 0)
    steps = 2 * 2 * (1 + 2)  # tasks x seeds x steps of 16 rows in batches of 16 and of 8
    assert expected.seconds == pytest.approx(SECONDS_PER_STEP * steps / 2)


def test_the_trials_of_a_search_are_counted(card_of, store) -> None:
    space = {"learning_rate": [1e-3, 1e-2, 1e-1]}
    card = card_of(methods=["plain", "search-grid-2", "search-tpe-5"], search_space=space)
    expected = forecast(plan_study(card, "small", store), store, workers=1)
    assert expected.runs == expected.unknown == 2 * (1 + 2 + 5)


def test_a_prior_that_does_not_know_the_backbone_prices_nothing() -> None:
    assert forecast_module._cost_model("no/such", "text") is None
