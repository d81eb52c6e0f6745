"""Learn from somebody else's runs on one backbone, choose for another: regret in points.

    python scripts/evaluate_outside.py deberta-base.jsonl deberta-v3-base.jsonl

The protocol is in docs/outside.md. The files are those of nicholaslourie/opda (CC BY-SA 4.0); any
two tables of the same recipes on two backbones will do, with a mapping.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor

from metaft.prior.encoding import encode_recipes
from metaft.recipes import PLAIN, Recipe
from metaft.traces.mapping import OutsideMapping
from metaft.traces.outside import read_outside

TRIALS = (1, 4, 8, 16, 64)
SOURCE_RUNS = (16, 64, 256)  # fewer source runs than there are
DRAWS = 20  # of so many source runs
LOSS_POINTS = 10.0  # at which a variant of the surrogate cuts losses against the best run
_RATE_TOLERANCE = 0.1  # decades from plain's rate within which a run counts as usual


@dataclass(frozen=True, eq=False)
class Backbone:
    """The same recipes on one backbone.

    Attributes:
        name: Stem of its file.
        recipes: What was run.
        train_rows: Training rows of every run.
        validation, test: `(recipes,)` in points, after the epoch that is best on validation.
    """

    name: str
    recipes: tuple[Recipe, ...]
    train_rows: int
    validation: np.ndarray
    test: np.ndarray

    @classmethod
    def read(cls, path: Path, mapping: OutsideMapping) -> Backbone:
        """Read a table of runs."""
        traces = read_outside(path, mapping, backbone=path.stem)
        return cls(
            name=path.stem,
            recipes=tuple(trace.recipe for trace in traces),
            train_rows=traces[0].train_rows,
            validation=np.array([100.0 * t.validation[t.metric] for t in traces]),
            test=np.array([100.0 * t.test[t.metric] for t in traces]),
        )

    @property
    def inputs(self) -> np.ndarray:
        """Return the encoded recipes `(recipes, inputs)`."""
        return encode_recipes(self.recipes, self.train_rows)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a method reached on the target, in points of its test rows.

    Attributes:
        score: Of its choice, in the mean over its draws.
        regret: Below the recipe that is best on the target's validation rows.
        flattered_regret: Below the best of all test scores, which is best partly by luck.
        normalised_regret: `regret` over what that best recipe gains on the median one.
    """

    score: float
    regret: float
    flattered_regret: float
    normalised_regret: float

    @classmethod
    def of(cls, score: float, target: Backbone) -> Figures:
        """Judge a mean score on the target."""
        best = float(target.test[target.validation.argmax()])
        gain = best - float(np.median(target.test))
        return cls(score, best - score, float(target.test.max()) - score, (best - score) / gain)


def _grow(inputs: np.ndarray, targets: np.ndarray) -> ExtraTreesRegressor:
    """Grow a forest; the seeds of its trees are fixed."""
    forest = ExtraTreesRegressor(100, min_samples_leaf=5, max_features=0.4, random_state=0)
    return forest.fit(inputs, targets)


def choose_by_surrogate(source: Backbone, seen: np.ndarray) -> int:
    """Return the recipe that a forest over recipes expects most of.

    Args:
        source: What is learned from: its validation scores.
        seen: Numbers of the runs that are learned from.
    """
    forest = _grow(source.inputs[seen], source.validation[seen])
    return int(forest.predict(source.inputs).argmax())


def choose_by_ranks(source: Backbone, seen: np.ndarray) -> int:
    """Return what the forest expects most of when it is fitted to ranks."""
    ranks = np.empty(len(seen))
    ranks[source.validation[seen].argsort(kind="stable")] = np.arange(len(seen))
    forest = _grow(source.inputs[seen], ranks)
    return int(forest.predict(source.inputs).argmax())


def choose_by_cut_losses(source: Backbone, seen: np.ndarray) -> int:
    """Return what the forest expects most of when a failed run is merely a bad one."""
    points = source.validation[seen]
    forest = _grow(source.inputs[seen], np.maximum(points, points.max() - LOSS_POINTS))
    return int(forest.predict(source.inputs).argmax())


def choose_best(source: Backbone, seen: np.ndarray) -> int:
    """Return the recipe that was best on the source: with one source, the best average."""
    return int(seen[source.validation[seen].argmax()])


CHOOSERS: dict[str, Callable[[Backbone, np.ndarray], int]] = {
    "surrogate": choose_by_surrogate,
    "best-average": choose_best,
    # Not in the protocol: tried when its figures were known.
    "surrogate on ranks (afterwards)": choose_by_ranks,
    "surrogate, losses cut (afterwards)": choose_by_cut_losses,
}
"""Name -> how it chooses from the runs on the source."""


def expect_random(target: Backbone, trials: int) -> float:
    """Return the expected test score of the best by validation of so many random recipes.

    Exact, over all subsets: the best of a subset has rank r (0 is the worst) with probability
    C(r, trials - 1) / C(recipes, trials).
    """
    count = len(target.recipes)
    ranks = np.arange(count)
    # C(r, k - 1) / C(n, k) as a product, since the binomials are beyond floats.
    chances = np.full(count, trials / count)
    for taken in range(trials - 1):
        chances = chances * np.maximum(ranks - taken, 0) / (count - 1 - taken)
    return float(chances @ target.test[np.argsort(target.validation, kind="stable")])


def usual_runs(target: Backbone) -> np.ndarray:
    """Return the runs nearest to plain: its epochs, and nearly its rate."""
    away = np.log10([recipe.learning_rate / PLAIN.learning_rate for recipe in target.recipes])
    epochs = np.array([recipe.epochs for recipe in target.recipes])
    return np.flatnonzero((np.abs(away) <= _RATE_TOLERANCE) & (epochs == PLAIN.epochs))


def evaluate(source: Backbone, target: Backbone) -> Iterator[tuple[str, Figures]]:
    """Yield every method's figures on the target."""
    every = np.arange(len(source.recipes))
    for name, choose in CHOOSERS.items():
        chosen = choose(source, every)
        figures = Figures.of(target.test[chosen], target)
        yield f"{name}: {describe(source.recipes[chosen])}", figures
    usual = usual_runs(target)
    yield f"usual: mean of {len(usual)} runs", Figures.of(target.test[usual].mean(), target)
    for trials in TRIALS:
        yield f"random-{trials}", Figures.of(expect_random(target, trials), target)
    for count in SOURCE_RUNS:
        draws = [
            np.random.default_rng([count, d]).choice(every, count, False) for d in range(DRAWS)
        ]
        for name, choose in CHOOSERS.items():
            scores = [target.test[choose(source, seen)] for seen in draws]
            yield f"{name}, {count} source runs", Figures.of(float(np.mean(scores)), target)


def describe(recipe: Recipe) -> str:
    """Return what matters of a recipe in a few words."""
    return (
        f"{recipe.learning_rate:.1e}, {recipe.epochs} epochs, batch {recipe.batch_size}, "
        f"warm-up {recipe.warmup_fraction:.2f}, dropout {recipe.dropout:.2f}"
    )


def correlate(one: Backbone, other: Backbone) -> tuple[float, float]:
    """Return Spearman's correlation of the test scores, over all and over one's better half."""
    from scipy.stats import spearmanr

    better = one.validation >= np.median(one.validation)
    return (
        float(spearmanr(one.test, other.test).statistic),
        float(spearmanr(one.test[better], other.test[better]).statistic),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both directions as Markdown tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    default = Path(__file__).with_name("deberta.yaml")
    parser.add_argument("--mapping", type=Path, default=default, metavar="MAPPING.yaml")
    told = parser.parse_args(arguments)
    mapping = OutsideMapping.load(told.mapping)
    one, other = (Backbone.read(path, mapping) for path in (told.one, told.other))
    if one.recipes != other.recipes:
        parser.error("the two tables do not hold the same recipes in the same order")
    for source, target in ((one, other), (other, one)):
        all_runs, better_half = correlate(source, target)
        print(f"\n## {source.name} -> {target.name}, {len(source.recipes)} recipes\n")
        print(f"Rank correlation {all_runs:.2f}; in the source's better half {better_half:.2f}\n")
        print("| method | score | regret | flattered | normalised |\n|---|---|---|---|---|")
        for name, f in evaluate(source, target):
            print(
                f"| {name} | {f.score:.2f} | {f.regret:.2f} | {f.flattered_regret:.2f} "
                f"| {f.normalised_regret:.2f} |"
            )


if __name__ == "__main__":
    main()
