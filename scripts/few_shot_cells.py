"""What the comparison of initialisations consists of: its numbers, methods and cells.

A cell is one method on one dataset with one draw of rows.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from held_out import Split

from metaft.metalearning.adapting import HeadStart
from metaft.recipes import Recipe

DEVELOP, FEW, DEVELOP_MANY, MANY = "develop", "few", "develop-many", "many"

SHOTS = (4, 8, 16, 32)  # Training rows of each class.
DEVELOPMENT_SHOTS = (8, 32)  # The first chooses for all numbers of shots below the second.
SEEDS_OF = {DEVELOP: 2, FEW: 5, DEVELOP_MANY: 1, MANY: 3}
MANY_ROWS = 512
MOST_WAYS = 6
STEPS, MANY_STEPS = 12, 96  # Of AdamW; 96 are three epochs of 512 rows.
LOOKS = (0, 1, 2, 4, 8, 12)  # Steps after which the first test rows are scored.
LOOK_ROWS = 100
LOOK_SEEDS = 2  # Draws whose curves are looked at.
TEST_ROWS = 200
RATES = (3e-5, 1e-4, 3e-4, 1e-3)
USUAL_RATE = 3e-4
RECIPE = Recipe(frozen_fraction=0.5, batch_size=16, max_length=64)
BACKBONE = "minilm"

PRETRAINED, LINEAR_PROBE, LP_FT, PROTOTYPE = "pretrained", "linear-probe", "lp-ft", "prototype"
SIMPLE = (PRETRAINED, LINEAR_PROBE, LP_FT, PROTOTYPE)
"""The rivals that need no training beforehand."""

MULTI_TASK, LAYERED = "multi-task", "meta-sgd-layered"
META_LEARNED = ("reptile", "fomaml", "maml", "meta-sgd", "anil")
METHODS = (*SIMPLE, MULTI_TASK, *META_LEARNED, LAYERED)


@dataclass(frozen=True, slots=True)
class Cell:
    """One method on one draw of rows of one dataset.

    Attributes:
        stage: `develop`, `few`, `develop-many` or `many`.
        dataset: Its name.
        seed: Of rows, classes, order and dropout.
        shots: Training rows of each class; 0 where rows are drawn whatever their class.
        method: One of `METHODS`.
        rate: Of AdamW; 0 where no step is taken.
        head: How the head starts.
    """

    stage: str
    dataset: str
    seed: int
    shots: int
    method: str
    rate: float
    head: HeadStart


@dataclass(frozen=True, slots=True)
class Result:
    """What a cell gave; see `Adapted`."""

    cell: Cell
    train_rows: int
    accuracy: float
    curve: tuple[tuple[int, float], ...]
    cpu_seconds: float


@dataclass(frozen=True)
class Plan:
    """What shall be compared.

    Attributes:
        inits: Folder with one folder per algorithm.
        split: Which datasets are for what.
        methods: Those that are compared.
        seeds: Most draws of rows of a dataset.
        shots: Training rows of each class.
    """

    inits: Path
    split: Split
    methods: tuple[str, ...] = METHODS
    seeds: int = max(SEEDS_OF.values())
    shots: tuple[int, ...] = SHOTS

    def only(
        self,
        *,
        methods: tuple[str, ...] | None,
        datasets: tuple[str, ...] | None,
        seeds: int | None,
        shots: tuple[int, ...] | None,
    ) -> Plan:
        """Return a part of the plan; None leaves things as they are."""
        split = self.split
        if datasets is not None:
            kept = [
                tuple(name for name in names if name in datasets)
                for names in (split.test, split.development)
            ]
            split = dataclasses.replace(split, test=kept[0], development=kept[1])
        return dataclasses.replace(
            self,
            split=split,
            methods=methods or self.methods,
            seeds=seeds or self.seeds,
            shots=shots or self.shots,
        )

    def available(self) -> list[str]:
        """Return the methods whose initialisation is there."""
        return [m for m in self.methods if m in SIMPLE or self.file_of(m).is_file()]

    def file_of(self, method: str) -> Path:
        """Return where the initialisation of a method lies."""
        algorithm = "meta-sgd" if method == LAYERED else method
        return self.inits / algorithm / "init.safetensors"


def options_of(method: str) -> list[tuple[float, HeadStart]]:
    """Return the rates and heads that development chooses from."""
    if method in (LINEAR_PROBE, PROTOTYPE):
        return [(0.0, "linear_probe" if method == LINEAR_PROBE else "prototype")]
    if method == LP_FT:
        return [(rate, "linear_probe") for rate in RATES]
    heads: tuple[HeadStart, ...] = ("zero", "prototype")
    return list(product(RATES, heads))
