from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from metaft.comparing.advice import Adviser, _racers_of
from metaft.errors import PriorError, TaskError
from metaft.features.extract import FEATURES
from metaft.prior.described import Described
from metaft.prior.fit import write_prior
from metaft.prior.prior import Prior
from metaft.prior.suggest import suggest
from metaft.recipes import HALF_FROZEN, NAMED, PLAIN, STEADY, Recipe
from metaft.tasks.card import relatives_of

if TYPE_CHECKING:
    from tests.comparing.conftest import Comparison
    from tests.conftest import TaskFactory

    from metaft.traces.trace import Trace

BACKBONE = "tiny-bert"  # that of the made-up traces
TRAINED = ("uci_sentences_amazon", "sotu_party", "sms_spam")
SCORES = {PLAIN: 0.7, STEADY: 0.72, HALF_FROZEN: 0.8}


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory, comparison: Comparison) -> str:
    """Return the folder of a prior to which half_frozen was always best."""
    folder = tmp_path_factory.mktemp("priors") / "made_up"
    traces = [
        _trace(task, recipe, SCORES[recipe] + 0.01 * at, comparison)
        for at, task in enumerate(TRAINED)
        for recipe in NAMED.values()
    ]
    described = [_describe(trace) for trace in traces if trace.recipe == PLAIN]
    relatives = {task: relatives_of(task) for task in TRAINED}
    write_prior(traces, described, folder, relatives=relatives)
    return str(folder)


def _trace(task: str, recipe: Recipe, score: float, comparison: Comparison) -> Trace:
    _, traces = comparison({task: {"plain": [score]}})
    (trace,) = traces.values()
    epochs = tuple(
        dataclasses.replace(trace.curve[0 if at < recipe.epochs else 1], epoch=at)
        for at in range(1, recipe.epochs + 1)
    )
    return dataclasses.replace(
        trace,
        trace_id=f"{task}/{recipe.learning_rate}",
        task_fingerprint=f"{task:0<16}",
        recipe=recipe,
        curve=epochs,
        best_epoch=recipe.epochs,
        prefix_seconds=0.1,
    )


def _describe(trace: Trace) -> Described:
    drawn = np.random.default_rng(sum(trace.task.encode())).normal(size=len(FEATURES))
    return Described(
        task=trace.task,
        fingerprint=trace.task_fingerprint,
        kind=trace.kind,
        metric=trace.metric,
        backbone=trace.backbone,
        train_rows=trace.train_rows,
        values=dict(zip(FEATURES, drawn.tolist(), strict=True)),
    )


def test_best_on_average_is_what_the_training_tasks_liked_best(
    prior: str, tiny_task: TaskFactory
) -> None:
    choice = Adviser(prior, offline=True).best_on_average(tiny_task(), BACKBONE, 64)
    assert choice.recipe == HALF_FROZEN
    assert choice.predicted is None
    assert choice.prior == "made_up 0.1.0"


def test_suggestion_comes_with_its_prediction(prior: str, tiny_task: TaskFactory) -> None:
    known = dataclasses.replace(tiny_task(name="sotu_party"), source="bundled")
    choice = Adviser(prior, offline=True).suggest("score", known, BACKBONE, 64)
    assert choice.recipe == HALF_FROZEN
    assert choice.predicted is not None
    assert choice.predicted.low <= choice.predicted.score <= choice.predicted.high
    assert choice.note  # three tasks are too few for an interval


@pytest.mark.parametrize(
    ("name", "relatives", "is_seen"),
    [
        ("sotu_party", (), True),
        ("uci_sentences_yelp", ("uci_sentences_amazon",), True),
        ("emotion", ("ag_news",), False),
    ],
)
def test_task_is_seen_where_it_or_a_relative_was_learned_from(
    prior: str, tiny_task: TaskFactory, name: str, relatives: tuple[str, ...], is_seen: bool
) -> None:
    task = dataclasses.replace(tiny_task(name=name), relatives=frozenset(relatives))
    assert Adviser(prior, offline=True).best_on_average(task, BACKBONE, 64).is_seen == is_seen


def test_prior_of_texts_says_nothing_of_images(prior: str, tiny_task: TaskFactory) -> None:
    images = tiny_task(kind="image_classification", name="optdigits")
    with pytest.raises(TaskError, match="a task of images, and the prior 'made_up' learned from"):
        Adviser(prior, offline=True).best_on_average(images, BACKBONE, 64)


def test_named_prior_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match="neither a folder nor a shipped prior"):
        Adviser(str(tmp_path / "nowhere"), offline=True)


def test_recipes_race_where_one_epoch_tells_of_them(prior: str, tiny_task: TaskFactory) -> None:
    known = dataclasses.replace(tiny_task(name="sotu_party"), source="bundled")
    adviser = Adviser(prior, offline=True)
    choice = adviser.suggest("score", known, BACKBONE, 64, racers=2)
    assert choice.racers[0] == choice.recipe == HALF_FROZEN
    assert len(choice.racers) == 2
    assert adviser.suggest("score", known, BACKBONE, 64).racers == ()


@pytest.mark.parametrize(
    ("schedules", "racing", "said"),
    [
        (("constant", "constant", "linear"), 2, "1 of 2 rivals do not race"),
        (("constant", "linear", "linear"), 0, "2 of 2 rivals do not race"),
        (("linear", "constant", "constant"), 0, "the suggested recipe is linear"),
        (("constant", "constant", "constant"), 3, ""),
    ],
)
def test_a_falling_rate_does_not_race(prior: str, schedules, racing: int, said: str) -> None:
    prior_loaded = Prior.load(prior)
    suggestion = suggest(prior_loaded, prior_loaded.fitted.described[0], top=3)
    recipes = [dataclasses.replace(PLAIN, schedule=schedule) for schedule in schedules]
    others = [
        dataclasses.replace(other, recipe=recipe)
        for other, recipe in zip(suggestion.alternatives, recipes[1:], strict=True)
    ]
    changed = dataclasses.replace(suggestion, recipe=recipes[0], alternatives=tuple(others))
    racers, told = _racers_of(changed)
    assert len(racers) == racing
    assert said in told
    assert bool(said) == bool(told)
