"""TPE on recorded runs: a sampler proposes, and the nearest recipe not yet tried answers."""

from __future__ import annotations

import functools

import numpy as np

from metaft.prior.chosen import Chooser, Chosen
from metaft.prior.encoding import RECIPE_INPUTS, encode_recipes
from metaft.prior.leaving_out import LeftOut
from metaft.prior.searches import best_tried, cells_to_try
from metaft.prior.silence import silence_optuna
from metaft.prior.table import TraceTable

REPETITIONS = 10
"""Studies per block, since one is luck."""

STARTUP_TRIALS = 4
"""Random trials before the model; the library's ten would leave searches of 4 and 8 random."""

TRIALS = (4, 8, 16)
"""Sizes of search that are asked for; one study answers for all of them."""

_DERIVED = ("log2_steps", "log10_distance")  # say nothing that the other inputs do not


def tpe_search(trials: int) -> Chooser:
    """Return the chooser that lets a tree-structured Parzen estimator propose the recipes.

    Args:
        trials: One of `TRIALS`.

    Source:
        Bergstra et al. (2011), Algorithms for hyper-parameter optimization; multivariate as
        in Falkner, Klein & Hutter (2018), BOHB.
    """

    def take(table: TraceTable, left: LeftOut) -> Chosen | None:
        cells = cells_to_try(table, left.row)
        if cells is None:
            return None
        places = _places(table, left.row, cells)
        values = tuple(table.validation[left.row, cells].tolist())
        orders = _orders(places, values, left.row)
        return best_tried(table, left.row, cells[orders[:, :trials]])

    return take


def _places(table: TraceTable, row: int, cells: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Return where each recipe lies in the box of all of them, every side being 1 long."""
    recipes = [table.space.cells[cell] for cell in cells.tolist()]
    encoded = encode_recipes(recipes, table.blocks[row].train_rows)
    spread = np.ptp(encoded, axis=0)
    own = (spread > 0) & ~np.isin(RECIPE_INPUTS, _DERIVED)
    scaled = (encoded[:, own] - encoded[:, own].min(0)) / spread[own]
    return tuple(map(tuple, scaled.tolist()))


@functools.lru_cache(maxsize=1024)
def _orders(
    places: tuple[tuple[float, ...], ...], values: tuple[float, ...], block: int
) -> np.ndarray:
    """Return the order in which each study tries the recipes `(REPETITIONS, recipes)`.

    Args:
        places: `(recipes, inputs)` in [0, 1].
        values: Validation score of each, higher is better.
        block: Number that goes into the seeds.
    """
    seeds = np.random.SeedSequence(block).generate_state(REPETITIONS)
    # A search that tries every recipe finds the best in whatever order: nothing is asked.
    asked = max((trials for trials in TRIALS if trials < len(places)), default=0)
    with silence_optuna():
        return np.array([_study(np.array(places), values, asked, int(seed)) for seed in seeds])


def _study(points: np.ndarray, values: tuple[float, ...], trials: int, seed: int) -> list[int]:
    """Return all recipes, those first that a study of so many trials tries."""
    import optuna

    unit: optuna.distributions.BaseDistribution = optuna.distributions.FloatDistribution(0.0, 1.0)
    box = {str(side): unit for side in range(points.shape[1])}
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(
            n_startup_trials=STARTUP_TRIALS, multivariate=True, seed=seed
        ),
    )
    waiting, tried = list(range(len(points))), []
    for _ in range(trials):
        proposal = study.ask(box)
        # The sampler shall learn where the recipe lies that answered, not where it had looked.
        study.tell(proposal, state=optuna.trial.TrialState.FAIL)
        at = np.array(list(proposal.params.values()))
        answer = waiting.pop(int(((points[waiting] - at) ** 2).sum(1).argmin()))
        tried.append(answer)
        params = dict(zip(box, points[answer].tolist(), strict=True))
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=box, value=values[answer])
        )
    return tried + waiting
