"""Few-shot episodes: small classification problems cut from tasks, each found by its number."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaft.errors import TaskError
from metaft.tasks.split import distinct_rows_of_classes
from metaft.tasks.task import Split, Task

EPISODE_KINDS: frozenset[str] = frozenset(
    {"classification", "pair_classification", "image_classification"}
)
_TASK_ORDER, _EPISODE = 0, 1  # Streams of random numbers under one seed.


def _check_numbers(name: str, values: tuple[int, ...], low: int, high: int) -> None:
    whole = all(isinstance(v, int) and not isinstance(v, bool) for v in values)
    if not values or not whole or not all(low <= value <= high for value in values):
        raise TaskError(
            f"{name} is {values!r}; allowed are whole numbers from {low} to {high}, at least one",
            f"Set {name} within that",
        )


@dataclass(frozen=True, slots=True)
class EpisodeShape:
    """How large episodes may be.

    Attributes:
        ways: Numbers of classes to draw from, each in [2, 1000].
        shots: Numbers of support rows per class to draw from, each in [1, 10,000].
        query_shots: Query rows per class, in [1, 10,000].

    Raises:
        TaskError: For a number outside its range.
    """

    ways: tuple[int, ...] = (2, 3, 4, 5)
    shots: tuple[int, ...] = (4, 8, 16, 32)
    query_shots: int = 8

    def __post_init__(self) -> None:
        _check_numbers("ways", self.ways, 2, 1000)
        _check_numbers("shots", self.shots, 1, 10_000)
        _check_numbers("query_shots", (self.query_shots,), 1, 10_000)


@dataclass(frozen=True, eq=False)
class Episode:
    """One few-shot problem; no text or image stands in both support and query.

    Attributes:
        task: Name of the task it was cut from.
        classes: The task's class numbers; class `k` of the episode is `classes[k]`.
        support: Rows to adapt to, the same number of each class, labels in [0, ways).
        query: Rows to score the adapted model on, labels likewise.
    """

    task: str
    classes: tuple[int, ...]
    support: Split
    query: Split

    @property
    def ways(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def shots(self) -> int:
        """Support rows per class."""
        return len(self.support) // self.ways


class EpisodeSampler:
    """Gives any number of episodes, balanced over tasks.

    Episode `number` depends on the tasks, the shape and the seed alone, not on the episodes
    drawn before it: a resumed training, or another process, finds the same ones.

    Attributes:
        tasks: The tasks that episodes are cut from, by name.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        shape: EpisodeShape = EpisodeShape(),
        *,
        seed: int = 0,
        excluded: frozenset[str] = frozenset(),
    ) -> None:
        """Prepare the sampling; only training rows are ever drawn.

        Args:
            tasks: Classification tasks of any modality.
            shape: How large episodes may be.
            seed: Seed of every draw, >= 0.
            excluded: Names of held-out tasks: they and their relatives never give an episode.

        Raises:
            TaskError: For a task that cannot give an episode, or if no task is left.
        """
        kept = [task for task in tasks if not _touches(task, excluded)]
        if not kept:
            raise TaskError(
                f"of {len(tasks)} tasks none is left to draw episodes from: "
                f"{len(excluded)} tasks and their relatives are held out",
                "Select tasks that are no relatives of the held-out ones",
            )
        for task in kept:
            obstacle = episode_obstacle(task, shape)
            if obstacle:
                raise TaskError(obstacle, "Leave it out, or ask for smaller episodes")
        self.tasks = tuple(sorted(kept, key=lambda task: task.name))
        self._shape = shape
        self._seed = seed
        self._rows_of = [distinct_rows_of_classes(task) for task in self.tasks]

    def episode(self, number: int) -> Episode:
        """Return an episode by its number, >= 0.

        Every `len(tasks)` consecutive episodes visit each task once, in a random order.
        Sizes and classes are uniform over what the task has enough rows for.
        """
        visit, place = divmod(number, len(self.tasks))
        order = np.random.default_rng([self._seed, _TASK_ORDER, visit])
        at = int(order.permutation(len(self.tasks))[place])
        rng = np.random.default_rng([self._seed, _EPISODE, number])
        return _cut_episode(self.tasks[at], self._rows_of[at], self._shape, rng)


def episode_obstacle(task: Task, shape: EpisodeShape) -> str | None:
    """Say why a task cannot give episodes of a shape; None where it can."""
    if task.kind not in EPISODE_KINDS:
        return (
            f"{task.name!r} is a task of kind {task.kind}; episodes are cut from "
            f"{', '.join(sorted(EPISODE_KINDS))}"
        )
    rows_of = distinct_rows_of_classes(task)
    if _possible_shots(rows_of, shape):
        return None
    needed = min(shape.shots) + shape.query_shots
    return (
        f"{task.name!r} has fewer than {min(shape.ways)} classes of {needed} different "
        "training rows, which the smallest episode takes"
    )


def _touches(task: Task, excluded: frozenset[str]) -> bool:
    return task.name in excluded or bool(task.relatives & excluded)


def _large_classes(rows_of: list[np.ndarray], rows: int) -> list[int]:
    return [number for number, found in enumerate(rows_of) if len(found) >= rows]


def _possible_shots(rows_of: list[np.ndarray], shape: EpisodeShape) -> list[int]:
    """Return the shots for which enough classes have enough rows."""
    return [
        shots
        for shots in shape.shots
        if len(_large_classes(rows_of, shots + shape.query_shots)) >= min(shape.ways)
    ]


def _cut_episode(
    task: Task, rows_of: list[np.ndarray], shape: EpisodeShape, rng: np.random.Generator
) -> Episode:
    shots = int(rng.choice(_possible_shots(rows_of, shape)))
    large = _large_classes(rows_of, shots + shape.query_shots)
    ways = int(rng.choice([ways for ways in shape.ways if ways <= len(large)]))
    classes = tuple(int(number) for number in rng.choice(large, ways, replace=False))
    drawn = np.stack(
        [rng.choice(rows_of[c], shots + shape.query_shots, replace=False) for c in classes]
    )  # (ways, shots + query_shots)
    return Episode(
        task=task.name,
        classes=classes,
        support=_renumbered(task.train, drawn[:, :shots]),
        query=_renumbered(task.train, drawn[:, shots:]),
    )


def _renumbered(split: Split, rows: np.ndarray) -> Split:
    """Take rows `(ways, rows per class)` and number their classes from 0."""
    labels = np.repeat(np.arange(len(rows)), rows.shape[1])
    return dataclasses.replace(split.take(rows.reshape(-1)), labels=labels)
