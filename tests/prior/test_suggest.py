from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from metaft.errors import PriorError
from metaft.prior.choice import Limits
from metaft.prior.described import Described
from metaft.prior.fresh_runs import FreshRuns, FreshSize, Lead
from metaft.prior.manifest import Manifest
from metaft.prior.prior import Prior
from metaft.prior.suggest import suggest
from metaft.recipes import FIELDS, Recipe


@pytest.fixture(scope="module")
def prior(world_prior: Path) -> Prior:
    return Prior.load(world_prior)


@pytest.fixture(scope="module")
def target(prior: Prior):
    return next(row for row in prior.fitted.described if row.task == "target")


def test_the_contract(prior: Prior, target) -> None:
    answer = suggest(prior, target, top=3).to_mapping()
    assert list(answer) == [
        "dataset",
        "backbone",
        "prior",
        "recipe",
        "predicted",
        "nearest_tasks",
        "seen_in_training",
        "fallback",
        "start",
        "screening",
        "fresh_runs",
        "left_out",
        "probe",
        "alternatives",
    ]
    assert tuple(answer["recipe"]) == FIELDS
    assert list(answer["predicted"]) == [
        "metric",
        "score",
        "low",
        "high",
        "train_seconds",
        "peak_memory_mib",
        "failure_probability",
    ]
    predicted = answer["predicted"]
    assert 0 <= predicted["low"] <= predicted["score"] <= predicted["high"] <= 1
    assert predicted["train_seconds"] > 0
    assert answer["seen_in_training"] is False
    assert answer["start"]["init"] == "pretrained"
    assert "holds no meta-learned initialisation" in answer["start"]["why"]
    assert [near["distance"] for near in answer["nearest_tasks"]] == sorted(
        near["distance"] for near in answer["nearest_tasks"]
    )
    assert len(answer["alternatives"]) == 2
    json.dumps(answer, allow_nan=False)


def test_alternatives_are_other_recipes(prior: Prior, target) -> None:
    answer = suggest(prior, target, top=4)
    assert answer.recipes[0] == answer.recipe
    bare = {dataclasses.replace(recipe, epochs=1, warmup_fraction=0.0) for recipe in answer.recipes}
    assert len(bare) == 4


def test_few_tasks_admit_it(prior: Prior, target) -> None:
    answer = suggest(prior, target)
    assert "4 training tasks are too few for a 90 % interval" in str(answer.fallback)
    assert (answer.predicted.low, answer.predicted.high) == (0.0, 1.0)


def test_cost_is_cheaper_than_plain(prior: Prior, target) -> None:
    cheap = suggest(prior, target, goal="cost")
    assert cheap.predicted.train_seconds <= suggest(prior, target).predicted.train_seconds


def test_limits(prior: Prior, target) -> None:
    free = suggest(prior, target, top=10)
    limit = float(np.median([other.predicted.train_seconds for other in free.alternatives]))
    tight = suggest(prior, target, limits=Limits(seconds=limit), top=10)
    ranked = [tight, *tight.alternatives]
    assert max(answer.predicted.train_seconds for answer in ranked) <= limit
    with pytest.raises(PriorError, match="no recipe fits"):
        suggest(prior, target, limits=Limits(seconds=1e-6))


def test_a_known_task_is_said_to_be_known(prior: Prior, target) -> None:
    assert suggest(prior, prior.fitted.described[0]).seen_in_training
    renamed = dataclasses.replace(prior.fitted.described[0], task="a copy")
    assert suggest(prior, renamed).seen_in_training


def test_what_was_never_recorded_is_less_sure(own_prior: Path) -> None:
    path = own_prior / "prior.json"
    values = json.loads(path.read_text())
    values["calibration"] |= {"relative_width": 0.1, "relative_width_elsewhere": 0.2}
    path.write_text(json.dumps(values))
    prior = Prior.load(own_prior)
    row = prior.fitted.described[0]
    stranger = dataclasses.replace(row, backbone="other/backbone")
    (here, there) = (suggest(prior, asked).predicted for asked in (row, stranger))
    relative = [(p.score - p.low) / math.sqrt(p.score * (1 - p.score)) for p in (here, there)]
    assert relative == pytest.approx([0.1, 0.2])


def test_a_correlation_may_be_negative(prior: Prior, target) -> None:
    row = dataclasses.replace(target, kind="regression", metric="pearson")
    assert suggest(prior, row).predicted.low == -1.0


def test_unknown_goal(prior: Prior, target) -> None:
    with pytest.raises(PriorError, match="allowed are score, cost"):
        suggest(prior, target, goal="fun")  # type: ignore[arg-type]


def test_far_away_the_average_takes_over(own_prior: Path) -> None:
    path = own_prior / "prior.json"
    values = json.loads(path.read_text())
    values["calibration"] |= {"weight": 1.0, "near": 0.1, "far": 0.2, "relative_width": 0.1}
    path.write_text(json.dumps(values))
    prior = Prior.load(own_prior)
    known, target = prior.fitted.described[0], prior.fitted.described[-1]
    assert suggest(prior, known).fallback is None
    answer = suggest(prior, target)
    assert "the model counts for 0%" in str(answer.fallback)
    assert isinstance(answer.recipe, Recipe)
    predicted = answer.predicted
    half_width = 0.1 * math.sqrt(predicted.score * (1 - predicted.score))
    assert (predicted.low, predicted.high) == pytest.approx(
        (predicted.score - half_width, predicted.score + half_width)
    )


def test_nothing_is_promised_of_another_sort_of_task(prior: Prior, target) -> None:
    row = dataclasses.replace(target, kind="ner", metric="entity_f1")
    answer = suggest(prior, row)
    assert (answer.predicted.low, answer.predicted.high) == (0.0, 1.0)
    assert "how high entity_f1 will be is not known" in str(answer.fallback)
    models, _ = prior.opinion_on(row)
    averages = models.look_at(row).scores(0.0)
    best = models.space.cells[int(np.argmax(averages))]
    assert answer.recipe.learning_rate == best.learning_rate


def _of_long_texts(row: Described) -> Described:
    names = ("q05", "q25", "q50", "q75", "q95")
    levels = {f"log2_tokens_{name}": 8.0 for name in names}
    return dataclasses.replace(row, values={**row.values, **levels})


def test_long_texts_are_taken_whole_where_the_score_counts(prior: Prior, target) -> None:
    row = _of_long_texts(target)
    answer = suggest(prior, row, top=2)
    assert [one.recipe.max_length for one in (answer, *answer.alternatives)] == [256, 256]
    assert "the recorded runs cut texts at 128 tokens, this one at 256" in str(answer.fallback)
    assert suggest(prior, row, goal="cost").recipe.max_length < 256


def test_texts_are_cut_where_the_time_is_too_short_for_them(prior: Prior, target) -> None:
    row = _of_long_texts(target)
    seconds = suggest(prior, row, goal="cost").predicted.train_seconds
    answer = suggest(prior, row, limits=Limits(seconds=seconds * 1.01))
    assert answer.recipe.max_length < 256
    assert answer.predicted.train_seconds <= seconds * 1.01


def test_a_prior_without_screening_says_nothing_of_it(prior: Prior, target) -> None:
    assert suggest(prior, target).to_mapping()["screening"] is None


def test_what_the_left_out_tasks_showed_is_said(prior: Prior, target) -> None:
    score, cost = (suggest(prior, target, goal=goal).left_out for goal in ("score", "cost"))
    assert score is not None
    assert cost is not None
    compared = prior.manifest["validation"]["comparisons"]
    assert score.on_plain.points == compared["learned - plain"]["points"]["mean"]
    assert cost.on_plain.points == compared["learned-cost - plain"]["points"]["mean"]
    assert suggest(prior, target, limits=Limits(seconds=1e6)).left_out is None


def test_what_fresh_runs_showed_is_said(world_prior: Path, target, tmp_path: Path) -> None:
    folder = tmp_path / "prior"
    shutil.copytree(world_prior, folder)
    lead = Lead(0.1, -0.6, 0.8, 1.0, 0.9)
    size = FreshSize(target.train_rows, 5, on_plain=lead, on_average=lead, on_predicted=lead)
    FreshRuns("tiny 0.3.0", target.backbone, 20, (size,)).save(folder)
    answer = suggest(Prior.load(folder), target)
    assert answer.to_mapping()["fresh_runs"]["found"]["on_average"]["points"] == 0.1
    elsewhere = dataclasses.replace(target, train_rows=16 * target.train_rows)
    assert suggest(Prior.load(folder), elsewhere).fresh_runs is None
    assert suggest(Prior.load(folder), target, goal="cost").fresh_runs is None
    assert suggest(Prior.load(folder), target, limits=Limits(seconds=1e6)).fresh_runs is None


def test_what_screening_adopted_is_suggested(screened_prior: Path) -> None:
    screened = Prior.load(screened_prior)
    row = dataclasses.replace(screened.fitted.described[0], task="new", fingerprint="7" * 16)
    answer = suggest(screened, row, top=3)
    others = [other.recipe for other in answer.alternatives]
    assert {one.label_smoothing for one in (answer.recipe, *others)} == {0.1}
    mapping = answer.to_mapping()
    assert mapping["screening"]["applied"] == {"field": "label_smoothing", "value": 0.1}
    json.dumps(mapping, allow_nan=False)

    values = {**screened.manifest.values, "screening": None}
    without = suggest(dataclasses.replace(screened, manifest=Manifest(values)), row)
    assert answer.predicted == without.predicted, "the gain is not added"
    assert dataclasses.replace(answer.recipe, label_smoothing=0.0) == without.recipe


def test_an_interval_without_bounds_is_said(own_prior: Path) -> None:
    path = own_prior / "prior.json"
    values = json.loads(path.read_text())
    values["calibration"] |= {"relative_width": 0.1, "relative_width_elsewhere": "inf"}
    path.write_text(json.dumps(values))
    prior = Prior.load(own_prior)
    row = dataclasses.replace(prior.fitted.described[0], backbone="other/backbone")
    answer = suggest(prior, row)
    assert (answer.predicted.low, answer.predicted.high) == (0.0, 1.0)
    assert "the interval is the whole range" in str(answer.fallback)
