"""Made-up worlds of traces, in which it is known what the features tell of the best recipe."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from metaft.features.extract import FEATURES
from metaft.features.trial import TRIAL_FEATURES
from metaft.finetuning.outcome import Costs, EpochRecord
from metaft.prior.described import Described, describe_blocks
from metaft.prior.fit import write_prior
from metaft.prior.leaving_out import LeftOut, leave_each_out
from metaft.prior.screening import find_pairs
from metaft.prior.space import without_seed
from metaft.prior.table import TraceTable, tabulate
from metaft.prior.validate import shuffle_features
from metaft.recipes import HALF_FROZEN, Recipe, design
from metaft.traces.environment import Environment
from metaft.traces.trace import TRACE_SCHEMA, Trace, trace_id_of

BACKBONE = "tiny/bert"
_ENVIRONMENT = Environment(
    python_version="3.11.7",
    torch_version="2.15.0",
    transformers_version="5.23.0",
    timm_version="1.0.31",
    metaft_version="0.1.0",
    cpu_model="made up",
    cpu_cores=2,
    threads=1,
    gpu_name="",
)
_DIVERGING_RATE = 1e-3


@dataclass(frozen=True)
class World:
    """Traces of made-up tasks, and their features.

    Attributes:
        traces: Every task with every recipe.
        described: Features of every task.
        relatives: Nobody is related.
    """

    traces: list[Trace]
    described: list[Described]
    relatives: dict[str, frozenset[str]]

    def tagged(self, tasks: int, *, recipes: int) -> World:
        """Return the same with tags for answers in the first tasks, which lack recipes."""
        names = sorted(self.relatives)[:tasks]
        known = dict.fromkeys(without_seed(trace.recipe) for trace in self.traces)
        kept = list(known)[:recipes]
        traces = [
            dataclasses.replace(trace, kind="ner") if trace.task in names else trace
            for trace in self.traces
            if trace.task not in names or without_seed(trace.recipe) in kept
        ]
        described = [
            dataclasses.replace(row, kind="ner") if row.task in names else row
            for row in self.described
        ]
        return World(traces, described, self.relatives)


class WorldFactory(Protocol):
    """Makes up a world."""

    def __call__(
        self,
        tasks: int = 12,
        *,
        features_matter: bool = True,
        recipes: int = 8,
        epochs: int = 3,
        sizes: Sequence[int] = (512,),
        noise_points: float = 0.7,
        trials_matter: bool | None = None,
        seed: int = 0,
    ) -> World: ...


@pytest.fixture(scope="session")
def make_world() -> WorldFactory:
    """Return a factory of worlds.

    Every task has a best learning rate and a best freezing depth of its own, and a level of
    its scores. `probe_best` tells the level. Where features matter, `word_length` tells the
    best rate and `pair_overlap` the best depth; all other features are noise. Where trials
    matter, trial steps tell the same; None takes none. Rates from 1e-3 diverge unless half of
    the blocks are frozen.
    """

    def build(
        tasks: int = 12,
        *,
        features_matter: bool = True,
        recipes: int = 8,
        epochs: int = 3,
        sizes: Sequence[int] = (512,),
        noise_points: float = 0.7,
        trials_matter: bool | None = None,
        seed: int = 0,
    ) -> World:
        rng = np.random.default_rng(seed)
        traces, described = [], []
        for number in range(tasks):
            nature = _Nature(
                name=f"task{number:02d}",
                rate=float(rng.uniform(-1, 1)),
                depth=float(rng.uniform(0, 1)),
                level=float(rng.uniform(60, 90)),
            )
            for rows in sizes:
                row = _describe(nature, rows, features_matter, rng)
                described.append(_probe(row, nature, trials_matter))
                for recipe in design(recipes, epochs):
                    traces.append(_trace(nature, recipe, rows, noise_points, rng))
        return World(traces, described, {row.task: frozenset() for row in described})

    return build


@dataclass(frozen=True)
class Seen:
    """A world whose tasks were left out in turn.

    Attributes:
        table: Its traces.
        left_out: Every block as models saw it that did not know its task.
    """

    table: TraceTable
    left_out: list[LeftOut]


@pytest.fixture(scope="session")
def telling(make_world: WorldFactory) -> Seen:
    """Return a world of 20 tasks in which features tell the best recipe."""
    return _leave_out(make_world(20, recipes=8, epochs=2, seed=4), shuffled=False)


@pytest.fixture(scope="session")
def silent(make_world: WorldFactory) -> Seen:
    """Return the same world with the features shuffled across tasks."""
    return _leave_out(make_world(20, recipes=8, epochs=2, seed=4), shuffled=True)


def _leave_out(world: World, *, shuffled: bool) -> Seen:
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    rows = shuffle_features(rows, seed=0) if shuffled else rows
    return Seen(table, leave_each_out(table, rows, world.relatives))


@dataclass(frozen=True)
class _Nature:
    name: str
    rate: float
    depth: float
    level: float

    def points(self, recipe: Recipe, epoch: int) -> float:
        """Return the true score after an epoch: a cliff above the best rate, a slope below."""
        off = math.log10(recipe.learning_rate) - (-3.9 + 0.7 * self.rate)
        steepness = 25.0 if off > 0 else 8.0
        loss = steepness * off**2 + 12.0 * (recipe.frozen_fraction - self.depth) ** 2
        return max(30.0, self.level - loss - 6.0 * math.exp(-epoch))


def _describe(
    nature: _Nature, rows: int, features_matter: bool, rng: np.random.Generator
) -> Described:
    values = dict(zip(FEATURES, rng.normal(size=len(FEATURES)).tolist(), strict=True))
    values |= {
        "log2_train_rows": math.log2(rows),
        "is_image": 0.0,
        "is_regression": 0.0,
        "probe_best": nature.level / 100,
        "backbone_depth": 4.0,
        "backbone_log2_width": 5.0,
        "backbone_log10_parameters": 5.0,
        **{f"log2_tokens_q{level}": 4.0 for level in ("05", "25", "50", "75", "95")},
    }
    if features_matter:
        values |= {"word_length": nature.rate, "pair_overlap": nature.depth}
    return Described(
        task=nature.name,
        fingerprint=f"{nature.name:0>16}",
        kind="classification",
        metric="accuracy",
        backbone=BACKBONE,
        train_rows=rows,
        values=values,
    )


def _probe(row: Described, nature: _Nature, trials_matter: bool | None) -> Described:
    """Add what trial steps tell, if any are taken."""
    if trials_matter is None:
        return row
    rng = np.random.default_rng(sum(nature.name.encode()))
    told = dict(zip(TRIAL_FEATURES, rng.normal(size=len(TRIAL_FEATURES)).tolist(), strict=True))
    if trials_matter:
        told |= {"trial_drop_1e3": nature.rate, "trial_low_share": nature.depth}
    return dataclasses.replace(row, values={**row.values, **told})


def _trace(
    nature: _Nature, recipe: Recipe, rows: int, noise_points: float, rng: np.random.Generator
) -> Trace:
    diverges = recipe.learning_rate >= _DIVERGING_RATE and recipe.frozen_fraction < 0.5
    done = 0 if diverges else recipe.epochs
    curve = tuple(_record(nature, recipe, rows, at + 1, noise_points, rng) for at in range(done))
    best = max(range(done), key=lambda at: curve[at].validation["accuracy"], default=-1)
    seconds = sum(record.train_seconds + record.evaluation_seconds for record in curve)
    return Trace(
        trace_id=trace_id_of(f"{nature.name:0>16}", "b" * 16, recipe, rows, 0),
        schema=TRACE_SCHEMA,
        task=nature.name,
        task_fingerprint=f"{nature.name:0>16}",
        kind="classification",
        metric="accuracy",
        backbone=BACKBONE,
        backbone_fingerprint="b" * 16,
        recipe=recipe,
        train_rows=rows,
        seed=0,
        status="diverged" if diverges else "ok",
        reason="loss 99" if diverges else "",
        curve=curve,
        best_epoch=best + 1,
        validation=curve[best].validation if curve else {},
        test=curve[best].test if curve else {},
        costs=Costs(seconds, seconds, None, 300.0 + 2.0 * recipe.batch_size),
        epochs_to_95_percent=1 if curve else 0,
        precision="fp32",
        device="cpu",
        environment=_ENVIRONMENT,
        created_at="2026-01-01T00:00:00+00:00",
        overhead_seconds=0.0,
        prefix_seconds=0.1,
    )


def _record(
    nature: _Nature,
    recipe: Recipe,
    rows: int,
    epoch: int,
    noise_points: float,
    rng: np.random.Generator,
) -> EpochRecord:
    truth = nature.points(recipe, epoch) / 100
    validation, first, second = truth + rng.normal(size=3) * noise_points / 100
    learning = 1.0 - round(4 * recipe.frozen_fraction) / 4
    seconds = rows * (0.001 + 0.01 * learning) * float(np.exp(rng.normal() * 0.02))
    return EpochRecord(
        epoch=epoch,
        train_loss=1.0 / epoch,
        validation={"accuracy": validation},
        test={"accuracy": (first + second) / 2},
        test_halves=(first, second),
        train_seconds=seconds,
        evaluation_seconds=0.1,
    )


@pytest.fixture(scope="session")
def with_scores() -> object:
    """Return a function that changes every score of one task's traces."""

    def change(traces: Sequence[Trace], task: str, points: float) -> list[Trace]:
        return [_shifted(t, points) if t.task == task else t for t in traces]

    return change


def _shifted(trace: Trace, points: float) -> Trace:
    """Make every other recipe better and the rest worse, so that ranks change, too."""
    sign = 1 if trace.recipe.batch_size == 16 else -1
    step = sign * points / 100
    return _moved(trace, step, step)


def _moved(trace: Trace, test: float, validation: float) -> Trace:
    """Add to every score of a trace."""
    curve = tuple(
        dataclasses.replace(
            record,
            validation={"accuracy": record.validation["accuracy"] + validation},
            test={"accuracy": record.test["accuracy"] + test},
            test_halves=tuple(half + test for half in record.test_halves),
        )
        for record in trace.curve
    )
    return dataclasses.replace(trace, curve=curve)


SCREENED: Mapping[str, Any] = {
    "schedule": "cosine",
    "freezing": "alternate",
    "augmentation": "deletion",
    "label_smoothing": 0.1,
}
"""The levels of made-up screening traces; the runs of `augmentation` take twice the time."""


class ScreeningFactory(Protocol):
    """Makes up screening traces."""

    def __call__(
        self,
        tasks: int = 20,
        *,
        gains: Mapping[str, float] | None = None,
        validation_gain: float | None = None,
        exchanged: bool = False,
        noise_points: float = 0.3,
        base: Recipe = HALF_FROZEN,
        rows: int = 512,
        seed: int = 0,
    ) -> list[Trace]: ...


@pytest.fixture(scope="session")
def make_screening() -> ScreeningFactory:
    """Return a factory of the runs of a base recipe and of every level of `SCREENED`.

    `gains` are what the level of a field gains on test and validation rows, in points;
    `validation_gain` replaces it on the latter. Where `exchanged`, the gain is a loss on half of
    the tasks, drawn anew for every field, as if base and level had been confused.
    """

    def build(
        tasks: int = 20,
        *,
        gains: Mapping[str, float] | None = None,
        validation_gain: float | None = None,
        exchanged: bool = False,
        noise_points: float = 0.3,
        base: Recipe = HALF_FROZEN,
        rows: int = 512,
        seed: int = 0,
    ) -> list[Trace]:
        rng = np.random.default_rng(seed)
        found = []
        for number in range(tasks):
            nature = _Nature(f"task{number:02d}", 0.5, 0.5, float(rng.uniform(60, 90)))
            found.append(_trace(nature, base, rows, noise_points, rng))
            for field, value in SCREENED.items():
                recipe = dataclasses.replace(base, **{field: value})
                trace = _trace(nature, recipe, rows, noise_points, rng)
                gain = float(rng.choice((-1, 1))) if exchanged else 1.0
                gain *= (gains or {}).get(field, 0.0)
                other = gain if validation_gain is None else validation_gain
                found.append(_slowed(_moved(trace, gain / 100, other / 100)))
        return found

    return build


def _slowed(trace: Trace) -> Trace:
    factor = 2 if trace.recipe.augmentations else 1
    curve = tuple(
        dataclasses.replace(record, train_seconds=factor * record.train_seconds)
        for record in trace.curve
    )
    costs = dataclasses.replace(trace.costs, cpu_seconds=factor * trace.costs.cpu_seconds)
    return dataclasses.replace(trace, curve=curve, costs=costs)


@pytest.fixture(scope="session")
def world_prior(make_world: WorldFactory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a prior of four tasks that ships the features of `target`.

    Nobody may change it; `own_prior` is a copy.
    """
    world = make_world(5, recipes=6, epochs=3)
    known = [row for row in world.described if row.task != "task04"]
    target = dataclasses.replace(world.described[4], task="target", fingerprint="7" * 16)
    folder = tmp_path_factory.mktemp("priors") / "world-v0"
    write_prior(
        [trace for trace in world.traces if trace.task != "task04"],
        [*known, target],
        folder,
        relatives=world.relatives,
        targets=["target"],
    )
    return folder


@pytest.fixture(scope="session")
def probed_prior(make_world: WorldFactory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a prior that knows what trial steps tell; nobody may change it.

    Of its 12 tasks nothing but trial steps tells the best recipe; it ships what they told of
    `target`.
    """
    world = make_world(13, recipes=8, epochs=2, features_matter=False, trials_matter=True, seed=4)
    known = [row for row in world.described if row.task != "task12"]
    target = dataclasses.replace(world.described[12], task="target", fingerprint="7" * 16)
    folder = tmp_path_factory.mktemp("priors") / "probed-v0"
    write_prior(
        [trace for trace in world.traces if trace.task != "task12"],
        [*known, target],
        folder,
        relatives=world.relatives,
        targets=["target"],
    )
    return folder


@pytest.fixture
def own_prior(world_prior: Path, tmp_path: Path) -> Path:
    """Return a prior that a test may change."""
    return Path(shutil.copytree(world_prior, tmp_path / "world-v0"))


@pytest.fixture(scope="session")
def screened_prior(
    make_world: WorldFactory,
    make_screening: ScreeningFactory,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return the folder of a prior whose screening adopts label smoothing; nobody may change it."""
    world = make_world(5, recipes=6, epochs=3)
    folder = tmp_path_factory.mktemp("priors") / "screened-v0"
    pairs = find_pairs(make_screening(12, gains={"label_smoothing": 2.0}), "text")
    write_prior(world.traces, world.described, folder, relatives=world.relatives, pairs=pairs)
    return folder
