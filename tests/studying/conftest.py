"""A tiny backbone and tiny files on disk, cards over them, and studies made up by hand."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import yaml

from metaft.comparing.results import SeedResult
from metaft.comparing.scoring import RowCounts
from metaft.prior.described import Described
from metaft.recipes import PLAIN
from metaft.studying.arms import Arm
from metaft.studying.card import StudyCard, read_card
from metaft.studying.combining import combine
from metaft.studying.plan import StudyPlan, StudyUnit
from metaft.studying.results import StudyRun
from metaft.studying.starts import Start

if TYPE_CHECKING:
    from tests.conftest import TaskFactory

GUESS = 0.5
FAST = {"epochs": 1, "batch_size": 8, "max_length": 16, "precision": "fp32"}


class CardFactory(Protocol):
    """Writes a card whose variants differ in nothing, and reads it."""

    def __call__(self, name: str = "tiny", **fields: Any) -> StudyCard: ...


class MadeUp(Protocol):
    """Makes up a study of factors, and its runs."""

    def __call__(
        self,
        factors: Mapping[str, Mapping[str, Any]],
        scores: Mapping[str, Mapping[tuple[str, ...], float | str]],
        *,
        seeds: int = 1,
        **card: Any,
    ) -> tuple[StudyPlan, list[StudyRun]]: ...


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, tiny_task: TaskFactory) -> list[str]:
    """Return two CSV files with a task each."""
    folder = tmp_path_factory.mktemp("files")
    return [_write_csv(folder / f"file{seed}.csv", tiny_task, seed) for seed in range(2)]


@pytest.fixture
def card_of(tmp_path: Path, files: list[str], backbone_folder: str) -> CardFactory:
    """Return a factory of cards over the files and the tiny backbone."""

    def build(name: str = "tiny", **fields: Any) -> StudyCard:
        variant = {
            "tasks": files,
            "rows": 16,
            "seeds": 1,
            "backbones": [backbone_folder],
            "base": FAST,
            **{key: value for key, value in fields.items() if key != "convergence"},
        }
        card = {
            "title": "Tiny",
            "question": "Does it matter?",
            "source": "made up",
            "convergence": fields.get("convergence", False),
            "full": variant,
            "small": variant,
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(card, sort_keys=False))
        return read_card(path)

    return build


@pytest.fixture
def made_up(card_of: CardFactory) -> MadeUp:
    """Return a factory of studies: task -> levels -> score of every seed, or a status."""

    def build(
        factors: Mapping[str, Mapping[str, Any]],
        scores: Mapping[str, Mapping[tuple[str, ...], float | str]],
        *,
        seeds: int = 1,
        **card: Any,
    ) -> tuple[StudyPlan, list[StudyRun]]:
        read = card_of(factors=factors, seeds=seeds, **card)
        recipes = combine(read.small, "text").recipes
        units = []
        runs = []
        for at, (task, by_levels) in enumerate(scores.items()):
            arms = {
                levels: Arm(levels, recipes[levels], Start("tiny", "f")) for levels in by_levels
            }
            units.append(_unit(task, arms))
            runs += [
                _run(at, levels, seed, arms[levels], score)
                for levels, score in by_levels.items()
                for seed in range(seeds)
            ]
        return StudyPlan(read, "small", tuple(units), ()), runs

    return build


def _unit(task: str, arms: dict[tuple[str, ...], Arm]) -> StudyUnit:
    described = Described(task, "f", "classification", "accuracy", "tiny", 16, values={})
    return StudyUnit(
        task=task,
        kind="classification",
        metric="accuracy",
        backbone="tiny",
        guess_score=GUESS,
        rows=RowCounts(16, 8, 8),
        described=described,
        arms=arms,
        keys={},
        found={},
    )


def _run(at: int, levels: tuple[str, ...], seed: int, arm: Arm, score: float | str) -> StudyRun:
    is_ok = not isinstance(score, str)
    reached = GUESS if isinstance(score, str) else score
    status: Any = "ok" if is_ok else score
    result = SeedResult(
        seed=seed,
        trace_id=f"{at}-{levels}-{seed}",
        status=status,
        reason="" if is_ok else "made up",
        score=reached,
        score_halves=(reached, reached),
        seconds=10.0 if is_ok else float("nan"),
        peak_memory_mib=100.0,
    )
    validation = (reached / 2, reached) if is_ok else ()
    recipe = PLAIN.with_settings({**arm.recipe.to_mapping(), "epochs": 2})
    return StudyRun(at, levels, seed, recipe, result, 1, validation, None)


def _write_csv(path: Path, tiny_task: TaskFactory, seed: int) -> str:
    task = tiny_task(rows=48, seed=seed)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        labels = (task.label_names[label] for label in task.train.labels)
        rows.writerows(zip(task.train.texts or (), labels, strict=True))
    return str(path)
