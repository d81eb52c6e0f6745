"""What an answer had to do without is said, and nothing else."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from metaft.prior.fallbacks import longer_than_recorded
from metaft.prior.prior import Prior
from metaft.prior.suggest import suggest


@pytest.fixture(scope="module")
def prior(world_prior: Path) -> Prior:
    return Prior.load(world_prior)


@pytest.fixture(scope="module")
def target(prior: Prior):
    return next(row for row in prior.fitted.described if row.task == "target")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "other/bert"}, "nothing was recorded on other/bert"),
        ({"train_rows": 4096}, "asked for 4,096 training rows, the nearest recorded are 512"),
        ({"kind": "regression"}, "no training task is of the kind regression"),
    ],
)
def test_what_was_never_recorded_is_said(prior: Prior, target, changes, message) -> None:
    answer = suggest(prior, dataclasses.replace(target, **changes))
    assert message in str(answer.fallback)
    assert message not in str(suggest(prior, target).fallback)


def test_another_metric_is_said(prior: Prior, target) -> None:
    assert "judged by" not in str(suggest(prior, target).fallback)
    answer = suggest(prior, dataclasses.replace(target, metric="macro_f1"))
    assert "no training task is judged by macro_f1; recorded is accuracy" in str(answer.fallback)


def test_untested_sureness_is_said(prior: Prior, target) -> None:
    assert math.isnan(prior.manifest.calibration_of("classes").relative_width_elsewhere)
    answer = suggest(prior, dataclasses.replace(target, backbone="other/backbone"))
    assert "how sure the predictions are there was not measured" in str(answer.fallback)


def test_only_texts_that_are_longer_than_recorded_are_named() -> None:
    assert longer_than_recorded(128, 128) == []
    assert "cut texts at 128 tokens, this one at 256" in longer_than_recorded(128, 256)[0]
