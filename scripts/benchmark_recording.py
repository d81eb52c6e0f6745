"""Measure metaft's loop against `transformers.Trainer`: same model, data, precision and epochs.

    python scripts/benchmark_recording.py [--only full,half,head,design] [--rows 256] [--rounds 3]
        [--design-rounds 1]

Both take turns in one process; ratios are formed within a round. Needs `accelerate`, as Trainer
does. With METAFT_DATA the task is AG News (timed only, nothing is kept), else a bundled one.
`trainer_rival.py` says what Trainer is given; the notes under the table say the rest.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

# Read when the libraries are imported, so it comes first.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import measuring
import numpy as np
import torch
from matrix_products import multiply, padded_lengths, training_flops
from measuring import Cost, Figure, Spread, times_faster
from trainer_rival import TrainerRival

from metaft.backbones.load import load_backbone
from metaft.backbones.text import TextBackbone
from metaft.cli.output import print_answer
from metaft.finetuning.batches import training_batches
from metaft.finetuning.device import resolve_compute
from metaft.finetuning.loop import fine_tune
from metaft.finetuning.model import Classifier
from metaft.finetuning.outcome import Outcome
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.recipes import HALF_FROZEN, PLAIN, Recipe, design
from metaft.tasks.load import load_task
from metaft.tasks.split import subsample
from metaft.tasks.task import Task

SECTIONS = ("full", "half", "head", "design")
MAX_LENGTH = 64
HEAD_EPOCHS = 5
DESIGN_RECIPES, DESIGN_EPOCHS = 16, 6
RUN_BUDGETS = (1, 3)  # Epoch budgets of the design that Trainer really runs.
FEW_ROWS = 64  # One batch: evaluation apart.
DESIGN_VALIDATION_SHARE = 400 / 512  # Of the training rows: what most runs are recorded with.
MATRIX_GOALS = {"cpu": 0.65, "cuda": 0.35}

NOTES = (
    "Ratios: Trainer's cost over metaft's within a round; median (range) over the rounds.",
    f"Rows are cut at {MAX_LENGTH} tokens and tokenised once. full, half, head: both sides score "
    f"{FEW_ROWS} validation rows after every epoch and {FEW_ROWS} test rows at the end, so that "
    "evaluation stands apart.",
    "Trainer: metaft's model (eager attention, mean pooling), precision and settings; its own "
    "shuffled batches of the same size, padded to their longest row. 'same batches': metaft's "
    "batches of like length, in metaft's order. 'as it comes': "
    "AutoModelForSequenceClassification with fused attention in fp32, DataCollatorWithPadding, "
    "Trainer's defaults. It never writes a checkpoint.",
    "half, head: the same blocks are frozen on both sides by requires_grad=False and eval mode; "
    "metaft's cache is empty at the start of every run; 'cache filled': another recipe of the "
    "task has run before, as for all but the first run of a recording.",
    f"design: {DESIGN_RECIPES} recipes; metaft runs each once for {DESIGN_EPOCHS} epochs and "
    f"answers budgets 1 to {DESIGN_EPOCHS}, the cache of frozen blocks filled within the measured "
    f"time. Trainer runs the budgets {' and '.join(map(str, RUN_BUDGETS))} of every recipe, once "
    "for recipes of one frozen depth and batch size, which are the same work to it; the other "
    "budgets are put on the straight line through these two, and one recipe's longest budget is "
    "run as a check. Both score the validation rows after every epoch (100 for 128 training rows, "
    f"as 400 for 512), and {FEW_ROWS} test rows once for every answer.",
    "Share of matrix products: operations of matrix products alone, forward and backward, over "
    "the time of the training epochs, against large square products in the same round.",
)

Progress = Callable[[int, str, Cost], None]


@dataclass(frozen=True, eq=False)
class Setting:
    """What the sections measure on.

    Attributes:
        backbone: Pretrained.
        task: Sub-sampled, with few validation and test rows.
        design_task: The same training rows, with the share of validation rows of recording.
        epochs: Of full and half.
        rounds: Turns of everything but the design.
        design_rounds: Turns of the design.
        precision: Of metaft and of Trainer, unless that runs as it comes.
    """

    backbone: TextBackbone
    task: Task
    design_task: Task
    epochs: int
    rounds: int
    design_rounds: int
    precision: str
    on_turn: Progress = measuring.say_turn

    def recipe(self, base: Recipe, epochs: int) -> Recipe:
        """Return a recipe in the precision and at the length of the benchmark."""
        settings = {"epochs": epochs, "max_length": MAX_LENGTH, "precision": self.precision}
        return base.with_settings(settings)

    @property
    def device(self) -> str:
        """Return where everything runs."""
        return resolve_compute("auto", "fp32").device


@dataclass(eq=False)
class _Kept:
    """An action that keeps its results, one per turn."""

    action: Callable[[], Any]
    results: list[Any] = field(default_factory=list)

    def __call__(self) -> None:
        self.results.append(self.action())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for, and print it."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    setting = _set_up(options)
    _warm_up(setting)
    figures = [figure for name in options.only for figure in _MEASURE[name](setting)]
    answer = {
        "machine": measuring.describe_machine(["accelerate", "datasets", "tokenizers"]),
        "task": setting.task.name,
        "backbone": setting.backbone.identity,
        "train_rows": len(setting.task.train),
        "epochs": setting.epochs,
        "rounds": setting.rounds,
        "design_rounds": setting.design_rounds,
        "precision": setting.precision,
        "figures": measuring.table_of(figures, options.clock),
        "notes": NOTES,
    }
    print_answer(answer, options.format, measuring.render)


def measure_full(setting: Setting) -> list[Figure]:
    """Fine-tune everything: three ways of Trainer, and the share of the machine's products."""
    recipe = setting.recipe(PLAIN, setting.epochs)
    rival = TrainerRival(setting.task, setting.backbone, MAX_LENGTH)
    loop = _Kept(lambda: _fine_tune(setting.task, setting.backbone, recipe))
    product = _Kept(multiply(setting.device, _dtype(setting.precision)))
    actions = {
        "metaft, full": loop,
        "Trainer, full": lambda: rival.run(recipe),
        "Trainer, full, same batches": lambda: rival.run(recipe, "same"),
        "Trainer, full, as it comes": lambda: rival.run_as_it_comes(recipe),
        "matrix products": product,
    }
    costs = measuring.take_turns(actions, setting.rounds, setting.on_turn)
    ours = costs["metaft, full"]
    same = f"same precision ({setting.precision})"
    training = [
        _training_cost(outcome, cost) for outcome, cost in zip(loop.results, ours, strict=True)
    ]
    peak = list(zip(product.results, costs["matrix products"], strict=True))
    return [
        times_faster(f"full: Trainer, {same}", costs["Trainer, full"], ours, 1.3),
        times_faster(
            f"full: Trainer, {same}, same batches", costs["Trainer, full, same batches"], ours, 1.3
        ),
        times_faster("full: Trainer as it comes", costs["Trainer, full, as it comes"], ours, 2.5),
        *_product_shares(setting, recipe, training, peak),
    ]


def measure_half(setting: Setting) -> list[Figure]:
    """Fine-tune with the lower half frozen."""
    recipe = setting.recipe(HALF_FROZEN, setting.epochs)
    return _against_trainer("half: lower half frozen", setting, recipe, goal=1.8)


def measure_head(setting: Setting) -> list[Figure]:
    """Train the head alone, five epochs."""
    head = Recipe(learning_rate=1e-3, frozen_fraction=1.0)
    recipe = setting.recipe(head, HEAD_EPOCHS)
    return _against_trainer(f"head: head alone, {HEAD_EPOCHS} epochs", setting, recipe, goal=4.5)


def measure_design(setting: Setting) -> list[Figure]:
    """Answer every recipe of the design at every budget."""
    recipes = [setting.recipe(r, DESIGN_EPOCHS) for r in design(DESIGN_RECIPES, DESIGN_EPOCHS)]
    rival = TrainerRival(setting.design_task, setting.backbone, MAX_LENGTH)
    numbers = range(1, setting.design_rounds + 1)
    rounds = [_design_round(setting, rival, recipes, number) for number in numbers]
    answers = DESIGN_RECIPES * DESIGN_EPOCHS
    theirs, ours = ([costs[side] for costs in rounds] for side in ("Trainer", "metaft"))
    check = _ratio_to_line(setting, rival, recipes[0])
    return [
        times_faster(f"design: per answer, {answers} of them", theirs, ours, goal=6.0),
        _figure("design: metaft, seconds per answer", [cost.times(1 / answers) for cost in ours]),
        _figure(
            "design: Trainer, seconds per answer", [cost.times(1 / answers) for cost in theirs]
        ),
        _figure(f"check: budget {DESIGN_EPOCHS} as run over the straight line", [check]),
    ]


_MEASURE = {
    "full": measure_full,
    "half": measure_half,
    "head": measure_head,
    "design": measure_design,
}


def _warm_up(setting: Setting) -> None:
    """Let both sides set up their threads, buffers and kernels outside the measured time."""
    few = subsample(setting.task, train_rows=2 * PLAIN.batch_size, test_rows=FEW_ROWS)
    rival = TrainerRival(few, setting.backbone, MAX_LENGTH)
    recipe = setting.recipe(PLAIN, 1)
    _fine_tune(few, setting.backbone, recipe)
    rival.run(recipe)
    rival.run_as_it_comes(recipe)


def _design_round(
    setting: Setting, rival: TrainerRival, recipes: Sequence[Recipe], number: int
) -> dict[str, Cost]:
    """Answer the whole design once on each side, recipe by recipe in turn."""
    cache = PrefixCache(setting.design_task, setting.backbone, recipes=recipes)
    sums = {"metaft": Cost(0.0, 0.0), "Trainer": Cost(0.0, 0.0)}
    runs: dict[tuple[float, int], list[Cost]] = {}  # (frozen fraction, batch size) -> budgets
    for at, recipe in enumerate(recipes, start=1):
        ours = measuring.cost_of(
            lambda recipe=recipe: _fine_tune(
                setting.design_task, setting.backbone, recipe, cache, test_every_epoch=True
            )
        )
        setting.on_turn(number, f"design, recipe {at} of {len(recipes)}, metaft", ours)
        work = (recipe.frozen_fraction, recipe.batch_size)
        if work not in runs:
            runs[work] = [_cost_of_budget(rival, recipe, epochs) for epochs in RUN_BUDGETS]
            setting.on_turn(number, f"design, recipe {at}, Trainer, one epoch", runs[work][0])
        sums["metaft"] += ours
        for epochs in range(1, DESIGN_EPOCHS + 1):
            sums["Trainer"] += _on_line(runs[work], epochs)
    return sums


def _cost_of_budget(rival: TrainerRival, recipe: Recipe, epochs: int) -> Cost:
    return measuring.cost_of(lambda: rival.run(recipe.truncated(epochs)))


def _on_line(runs: Sequence[Cost], epochs: int) -> Cost:
    """Return the cost of a budget on the line through the two budgets that were run."""
    first, second = RUN_BUDGETS
    weight = (epochs - first) / (second - first)
    return runs[0].times(1 - weight) + runs[1].times(weight)


def _ratio_to_line(setting: Setting, rival: TrainerRival, recipe: Recipe) -> Cost:
    """Run the longest budget and return its cost as a share of what the line says."""
    runs = [_cost_of_budget(rival, recipe, epochs) for epochs in (*RUN_BUDGETS, DESIGN_EPOCHS)]
    expected, real = _on_line(runs[:2], DESIGN_EPOCHS), runs[2]
    setting.on_turn(setting.design_rounds, "design, check of the longest budget", real)
    return Cost(real.wall_seconds / expected.wall_seconds, real.cpu_seconds / expected.cpu_seconds)


def _against_trainer(what: str, setting: Setting, recipe: Recipe, goal: float) -> list[Figure]:
    """Compare runs with frozen blocks: alone, and with what another recipe left in the cache."""
    rival = TrainerRival(setting.task, setting.backbone, MAX_LENGTH)
    section = what.partition(":")[0]
    cache = PrefixCache(setting.task, setting.backbone, recipes=[recipe])
    _fine_tune(setting.task, setting.backbone, recipe.truncated(1), cache)
    actions = {
        f"metaft, {section}": lambda: _fine_tune(setting.task, setting.backbone, recipe),
        f"metaft, {section}, cache filled": lambda: _fine_tune(
            setting.task, setting.backbone, recipe, cache
        ),
        f"Trainer, {section}": lambda: rival.run(recipe),
    }
    alone, later, theirs = measuring.take_turns(actions, setting.rounds, setting.on_turn).values()
    return [
        times_faster(what, theirs, alone, goal),
        times_faster(f"{what}, cache filled", theirs, later, goal),
    ]


def _product_shares(
    setting: Setting,
    recipe: Recipe,
    training: Sequence[Cost],
    peak: Sequence[tuple[float, Cost]],
) -> list[Figure]:
    """Return the machine's rate, metaft's rows per second, and its share of the rate."""
    real, padded = _operations(setting, recipe)
    rates = [cost.times(1e9 / operations) for operations, cost in peak]  # seconds per GFLOP
    goal = MATRIX_GOALS[setting.device]
    rows = len(setting.task.train) * recipe.epochs
    return [
        _inverse("machine: matrix products, GFLOP/s", rates),
        _inverse("full: metaft, rows per second", [cost.times(1 / rows) for cost in training]),
        _share("full: share of matrix products, padded tokens", padded, training, rates, goal),
        _share("full: share of matrix products, real tokens", real, training, rates, None),
    ]


def _operations(setting: Setting, recipe: Recipe) -> tuple[float, float]:
    """Count the operations of a run's training: of real tokens, and with padding."""
    backbone = setting.backbone
    examples = backbone.encode(setting.task.train, max_length=MAX_LENGTH, image_size=0)
    model = Classifier(backbone, setting.task.num_outputs, recipe.dropout)
    flops = training_flops(model, list(examples.columns))
    rng = np.random.default_rng(recipe.seed)
    padded = 0.0
    for _ in range(recipe.epochs):
        for rows in training_batches(examples.lengths, recipe.batch_size, rng):
            padded += flops(padded_lengths(backbone, examples, rows))
    return recipe.epochs * flops(examples.lengths), padded


def _share(
    what: str,
    operations: float,
    training: Sequence[Cost],
    seconds_per_gflop: Sequence[Cost],
    goal: float | None,
) -> Figure:
    """Return the share of the machine's rate, round by round."""
    needed = [rate.times(operations / 1e9) for rate in seconds_per_gflop]
    return times_faster(what, needed, training, goal)


def _training_cost(outcome: Outcome, run: Cost) -> Cost:
    """Return what a run's training epochs took; CPU seconds by their share of the whole run."""
    wall = sum(record.train_seconds for record in outcome.curve)
    return Cost(wall, wall * run.cpu_seconds / run.wall_seconds)


def _figure(what: str, costs: Sequence[Cost]) -> Figure:
    return Figure(
        what,
        wall=Spread.of(cost.wall_seconds for cost in costs),
        cpu=Spread.of(cost.cpu_seconds for cost in costs),
    )


def _inverse(what: str, costs: Sequence[Cost]) -> Figure:
    """Turn seconds per something into something per second."""
    return _figure(what, [Cost(1 / cost.wall_seconds, 1 / cost.cpu_seconds) for cost in costs])


def _fine_tune(
    task: Task,
    backbone: TextBackbone,
    recipe: Recipe,
    cache: PrefixCache | None = None,
    *,
    test_every_epoch: bool = False,
) -> Outcome:
    return fine_tune(task, backbone, recipe, cache=cache, test_every_epoch=test_every_epoch).outcome


def _dtype(precision: str) -> torch.dtype:
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


def _set_up(options: argparse.Namespace) -> Setting:
    backbone = load_backbone(options.backbone, offline=True)
    if not isinstance(backbone, TextBackbone):
        raise SystemExit(f"{options.backbone!r} takes images; Trainer is compared on texts")
    torch.set_num_threads(options.threads)
    task = load_task(options.dataset, offline=True)
    kept = {"train_rows": options.rows, "test_rows": FEW_ROWS}
    return Setting(
        backbone=backbone,
        task=subsample(task, **kept, validation_rows=FEW_ROWS),
        design_task=subsample(
            task, **kept, validation_rows=round(options.rows * DESIGN_VALIDATION_SHARE)
        ),
        epochs=options.epochs,
        rounds=options.rounds,
        design_rounds=options.design_rounds,
        precision=resolve_compute("auto", options.precision).precision,
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    dataset = "ag_news" if os.environ.get("METAFT_DATA") else "convention_2012_party"
    parser = argparse.ArgumentParser(
        description="Measure metaft's loop against transformers.Trainer, in turns."
    )
    parser.add_argument("--rows", type=int, default=256, help="training rows")
    parser.add_argument("--rounds", type=int, default=3, help="turns of full, half and head")
    parser.add_argument("--design-rounds", type=int, default=1, help="turns of the design")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of full and half")
    parser.add_argument("--only", type=_sections, default=SECTIONS, help=",".join(SECTIONS))
    parser.add_argument("--dataset", default=dataset, help="a task of texts")
    parser.add_argument("--backbone", default="minilm", help="an encoder of texts")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument(
        "--clock", choices=measuring.CLOCKS, default="wall", help="what verdicts go by"
    )
    parser.add_argument("--format", choices=("table", "json", "yaml"), default="table")
    return parser.parse_args(arguments)


def _sections(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(names) <= set(SECTIONS):
        raise argparse.ArgumentTypeError(f"{text!r}; allowed are {', '.join(SECTIONS)}")
    return names


if __name__ == "__main__":
    main()
