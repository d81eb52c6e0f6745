"""LevelModel: at which level the scores of a task lie.

A linear probe on the frozen states says most of it; learned is how much of the probe's error
fine-tuning removes. That ratio varies little between tasks, so a handful of them suffice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaft.features.extract import FEATURES
from metaft.prior.described import Described
from metaft.prior.ridge import Ridge

LEVEL_FEATURES: tuple[str, ...] = (
    "log2_train_rows",
    "log2_classes",
    "majority_share",
    "is_regression",
    "is_pair",
    "backbone_log10_parameters",
    "probe_words",
    "probe_100",
    "probe_best",
    "probe_best_depth",
    "probe_above_guess",
    "probe_gain_by_rows",
)
"""What the remaining share of the probe's error is predicted from."""

_PROBE = "probe_best"
_SMALLEST_ERROR_POINTS = 1.0  # below it ratios of errors are noise
_COLUMNS = np.array([FEATURES.index(name) for name in LEVEL_FEATURES])


@dataclass(frozen=True, eq=False)
class LevelModel:
    """Features -> score on the plateau.

    Attributes:
        usual_probe: Mean probe score of the training blocks, in points; for a task without.
        log_remaining: Standardised `LEVEL_FEATURES` -> log of the share of the probe's error
            that remains after fine-tuning.
    """

    usual_probe: float
    log_remaining: Ridge

    @classmethod
    def fit(
        cls, rows: Sequence[Described], positions: np.ndarray, levels: np.ndarray
    ) -> LevelModel:
        """Fit to training blocks.

        Args:
            rows: Their descriptions.
            positions: `(blocks, features)` standardised features.
            levels: `(blocks,)` mean score on the plateau, in points.
        """
        known = [100.0 * p for row in rows if not math.isnan(p := _probe_of(row))]
        usual_probe = float(np.mean(known)) if known else float(levels.mean())
        errors = np.array([_error(_points(row, usual_probe)) for row in rows])
        remaining = np.log([_error(level) for level in levels.tolist()]) - np.log(errors)
        return cls(usual_probe, Ridge.fit(positions[:, _COLUMNS], remaining))

    def predict(self, row: Described, position: np.ndarray) -> float:
        """Return the expected score on the plateau, in points."""
        remaining = math.exp(float(self.log_remaining.predict(position[_COLUMNS])))
        return 100.0 - remaining * _error(_points(row, self.usual_probe))


def _points(row: Described, usual_probe: float) -> float:
    score = _probe_of(row)
    return usual_probe if math.isnan(score) else 100.0 * score


def _probe_of(row: Described) -> float:
    return row.values.get(_PROBE, math.nan)


def _error(points: float) -> float:
    """Return what is missing to a perfect score, in points."""
    return max(_SMALLEST_ERROR_POINTS, 100.0 - points)
