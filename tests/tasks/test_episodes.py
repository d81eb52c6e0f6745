"""Episodes: balanced, disjoint, re-numbered, found by their number, never of held-out tasks."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metaft.errors import TaskError
from metaft.tasks.episodes import Episode, EpisodeSampler, EpisodeShape, episode_obstacle
from metaft.tasks.split import content_keys
from metaft.tasks.task import Split, Task

SHAPE = EpisodeShape(ways=(2, 3), shots=(2, 4), query_shots=3)


def _contents(episode: Episode) -> list[list[object]]:
    return [
        list(zip(content_keys(split), split.labels.tolist(), strict=True))
        for split in (episode.support, episode.query)
    ]


def _with_texts(task: Task, texts: tuple[str, ...], labels: list[int]) -> Task:
    return task.replaced(train=Split(labels=np.array(labels), texts=texts))


@pytest.mark.parametrize("kind", ["classification", "pair_classification", "image_classification"])
def test_an_episode_holds_the_same_number_of_rows_of_each_class(tiny_task, kind):
    sampler = EpisodeSampler([tiny_task(rows=48, classes=3, kind=kind)], SHAPE)

    for number in range(12):
        episode = sampler.episode(number)
        assert episode.ways in SHAPE.ways
        assert episode.shots in SHAPE.shots
        assert Counter(episode.support.labels.tolist()) == dict.fromkeys(
            range(episode.ways), episode.shots
        )
        assert Counter(episode.query.labels.tolist()) == dict.fromkeys(range(episode.ways), 3)


def test_classes_are_renumbered_and_named_by_the_episode(tiny_task):
    task = tiny_task(rows=60, classes=4)
    label_of = dict(zip(content_keys(task.train), task.train.labels.tolist(), strict=True))
    sampler = EpisodeSampler([task], SHAPE)

    orders = set()
    for number in range(10):
        episode = sampler.episode(number)
        orders.add(episode.classes)
        for split in (episode.support, episode.query):
            original = [label_of[key] for key in content_keys(split)]
            assert [episode.classes[label] for label in split.labels] == original
    assert len(orders) > 1


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**31 - 1), number=st.integers(0, 10**6))
def test_no_row_stands_in_support_and_query(tiny_task, seed, number):
    task = tiny_task(rows=40, classes=2)
    task = task.replaced(train=task.train.take(np.arange(80) % 40))  # every row twice
    episode = EpisodeSampler([task], SHAPE, seed=seed).episode(number)

    support, query = content_keys(episode.support), content_keys(episode.query)
    assert not set(support) & set(query)
    assert len(set(support)) == len(support)


def test_an_episode_depends_on_seed_and_number_alone(tiny_task):
    tasks = [tiny_task(name=name, seed=at) for at, name in enumerate("abc")]
    sampler = EpisodeSampler(tasks, SHAPE, seed=5)
    first = [_contents(sampler.episode(number)) for number in range(6)]
    again = EpisodeSampler(tasks[::-1], SHAPE, seed=5)

    assert [_contents(again.episode(number)) for number in reversed(range(6))] == first[::-1]
    other = EpisodeSampler(tasks, SHAPE, seed=6)
    assert [_contents(other.episode(number)) for number in range(6)] != first


def test_tasks_take_turns_whatever_their_size(tiny_task):
    tasks = [tiny_task(name="small", rows=24), tiny_task(name="large", rows=240)]
    tasks.append(tiny_task(name="many", rows=100, classes=5))
    sampler = EpisodeSampler(tasks, SHAPE)

    names = [sampler.episode(number).task for number in range(30)]
    assert all(set(names[at : at + 3]) == {"small", "large", "many"} for at in range(0, 30, 3))
    assert len({tuple(names[at : at + 3]) for at in range(0, 30, 3)}) > 1


def test_held_out_tasks_and_their_relatives_never_give_an_episode(tiny_task):
    held_out, other = tiny_task(name="held"), tiny_task(name="other")
    relative = dataclasses.replace(tiny_task(name="kin"), relatives=frozenset({"held"}))
    sampler = EpisodeSampler([held_out, relative, other], SHAPE, excluded=frozenset({"held"}))

    assert [task.name for task in sampler.tasks] == ["other"]
    with pytest.raises(TaskError, match="none is left"):
        EpisodeSampler([held_out, relative], SHAPE, excluded=frozenset({"held"}))


def test_sizes_are_those_that_the_task_has_rows_for(tiny_task):
    labels = [0] * 20 + [1] * 7 + [2] * 5
    task = _with_texts(tiny_task(classes=3), tuple(f"row {at}" for at in range(32)), labels)
    sampler = EpisodeSampler([task], SHAPE)

    drawn = {(e.ways, e.shots) for e in map(sampler.episode, range(40))}
    assert drawn == {(2, 2), (3, 2), (2, 4)}


def test_a_task_without_enough_rows_is_refused_by_name(tiny_task):
    labels = [0] * 20 + [1] * 4
    task = _with_texts(tiny_task(), tuple(f"row {at}" for at in range(24)), labels)

    assert episode_obstacle(tiny_task(), SHAPE) is None
    with pytest.raises(TaskError, match=r"'tiny' has fewer than 2 classes of 5 different"):
        EpisodeSampler([task], SHAPE)


def test_a_regression_is_refused(tiny_task):
    with pytest.raises(TaskError, match="kind regression"):
        EpisodeSampler([tiny_task(kind="regression")], SHAPE)


@pytest.mark.parametrize(
    ("field", "value"),
    [("ways", (1, 2)), ("ways", ()), ("shots", (0,)), ("shots", (2.5,)), ("query_shots", 0)],
)
def test_a_shape_out_of_range_is_refused(field, value):
    with pytest.raises(TaskError, match=f"{field} is .*allowed are whole numbers from"):
        EpisodeShape(**{field: value})
