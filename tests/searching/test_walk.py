"""Walks over stored runs that nobody made: which trials are learned from, and in which order."""

from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace

import pytest

from metaft.finetuning.outcome import EpochRecord
from metaft.recipes import Recipe
from metaft.searching.space import Range, SearchSpace
from metaft.searching.walk import Ground, Walk, plan_search

SPACE = SearchSpace({"learning_rate": Range(1e-4, 1e-1, is_log=True)})
BASE = Recipe(epochs=1, seed=5)
GROUND = Ground(
    task="mail",
    kind="classification",
    metric="accuracy",
    task_fingerprint="t",
    backbone="bert",
    backbone_fingerprint="b",
    train_rows=16,
    dataset="mail",
)


class MadeUpStore:
    """Takes the runs of recipes; the score is the rate."""

    def __init__(self) -> None:
        self.kept: dict[str, object] = {}

    def make(self, recipe: Recipe) -> None:
        score = {"accuracy": recipe.learning_rate}
        epoch = EpochRecord(1, 0.5, score, score, (0.0, 0.0), 1.0, 1.0)
        key = GROUND.key_of(recipe)
        self.kept[key] = SimpleNamespace(
            trace_id=key,
            recipe=recipe,
            curve=(epoch,),
            status="ok",
            metric="accuracy",
            costs=SimpleNamespace(wall_seconds=1.0),
        )

    def traces(self, keys: list[str]) -> list[object]:
        return [self.kept[key] for key in keys if key in self.kept]


def _walk(sampler: str, *, workers: int, trials: int = 12) -> Walk:
    plan = plan_search(
        GROUND, sampler=sampler, space=SPACE, trials=trials, base=BASE, workers=workers
    )
    return Walk(plan, MadeUpStore())  # type: ignore[arg-type]


def _finish(walk: Walk, *, last_first: bool = False) -> list[Recipe]:
    """Make what may be made, one after the other; return the recipes in the order made."""
    made = []
    while open_ones := [proposal.recipe for proposal in walk.to_make()]:
        recipe = open_ones[-1 if last_first else 0]
        walk.store.make(recipe)
        made.append(recipe)
    return made


@pytest.mark.parametrize(("sampler", "workers"), itertools.product(["tpe", "random"], [1, 3]))
def test_what_is_proposed_does_not_depend_on_what_ends_first(sampler: str, workers: int) -> None:
    one, other = (_walk(sampler, workers=workers) for _ in range(2))
    in_order, out_of_order = _finish(one), _finish(other, last_first=True)
    assert [trial.recipe for trial in one.done] == [trial.recipe for trial in other.done]
    assert {*in_order} == {*out_of_order}
    assert len(in_order) == len(one.done) == 12
    assert one.is_over
    assert other.is_over
    assert (in_order == out_of_order) == (sampler == "tpe" and workers == 1)


def test_whoever_looks_later_sees_the_same_trials() -> None:
    walk = _walk("tpe", workers=2, trials=6)
    _finish(walk)
    later = Walk(walk.plan, walk.store)
    later.look()
    assert later.done == walk.done
    assert [trial.was_stored for trial in later.result().trials] == [True] * 6
    longer = dataclasses.replace(walk.plan, trials=8)
    goes_on = Walk(longer, walk.store)
    goes_on.look()
    assert goes_on.done == walk.done
    assert len(list(goes_on.to_make())) == 2


def test_tpe_proposes_as_many_as_there_are_workers() -> None:
    assert [len(list(_walk("tpe", workers=n).to_make())) for n in (1, 3)] == [1, 3]
    assert len(list(_walk("random", workers=3).to_make())) == 12, "nobody learns from these"


def test_how_many_are_open_matters_to_tpe_alone() -> None:
    found = {}
    for sampler, workers in itertools.product(["tpe", "random"], [1, 3]):
        walk = _walk(sampler, workers=workers)
        _finish(walk)
        found[sampler, workers] = [trial.recipe for trial in walk.done]
    assert found["random", 1] == found["random", 3]
    assert found["tpe", 1] != found["tpe", 3]
