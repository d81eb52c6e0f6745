"""LevelModel: at which level the scores of a task lie.

A linear probe on the frozen states says most of it; learned is by how much fine-tuning goes
beyond the probe, in log odds. That is a smooth function of very little (the probe's score, the
classes, the rows of a class), so few tasks suffice, and more features only add noise
(docs/prior.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metaft.prior.described import Described
from metaft.tasks.task import Sort

LEVEL_FEATURES: tuple[str, ...] = ("log2_classes", "log2_rows_per_class")
"""What the gain depends on, beside the probe's own score."""

_PROBE = "probe_best"
_LENGTH_SCALE = 1.5  # in deviations of the coordinates, over which gains forget each other
_NOISE_SHARE = 1.0  # variance of what a task has for itself, over that of the smooth part
_CERTAIN = 0.03  # scores nearer to 0 or 1 count as this far from it: their log odds are noise


@dataclass(frozen=True, eq=False)
class LevelModel:
    """Features -> score on the plateau: a Gaussian process over the gain on the probe.

    Attributes:
        usual_probe: Mean probe score of the training blocks, in [0, 1]; for a task without.
        means, deviations: `(3,)` scale of the coordinates.
        coordinates: `(blocks, 3)` of the training blocks, standardised.
        sorts: `(blocks,)` of the training blocks. How far entities are above single words says
            nothing of how far classes are above a probe, so sorts share no gain.
        usual_gain: Mean gain of the training blocks, in log odds; for a sort without any.
        usual_gains: The same by sort.
        pulls: `(blocks,)` how much each block's gain moves its neighbours'.
    """

    usual_probe: float
    means: np.ndarray
    deviations: np.ndarray
    coordinates: np.ndarray
    sorts: np.ndarray
    usual_gain: float
    usual_gains: Mapping[Sort, float]
    pulls: np.ndarray

    @classmethod
    def fit(cls, rows: Sequence[Described], levels: np.ndarray) -> LevelModel:
        """Fit to training blocks.

        Args:
            rows: Their descriptions.
            levels: `(blocks,)` mean score on the plateau, in points.
        """
        known = [probe for row in rows if not math.isnan(probe := _probe_of(row))]
        usual_probe = float(np.mean(known)) if known else float(levels.mean()) / 100.0
        probes = np.array([_log_odds(_probe_or(row, usual_probe)) for row in rows])
        gains = np.array([_log_odds(level / 100.0) for level in levels.tolist()]) - probes
        raw = np.array([_coordinates_of(row, usual_probe) for row in rows])
        means, deviations = _scale_of(raw)
        coordinates = _standardised(raw, means, deviations)
        sorts = np.array([row.block.sort for row in rows])
        usual_gains = {sort: float(gains[sorts == sort].mean()) for sort in np.unique(sorts)}
        above_usual = gains - np.array([usual_gains[sort] for sort in sorts])
        covariance = _closeness(coordinates, coordinates) * (sorts[:, None] == sorts)
        covariance += _NOISE_SHARE * np.eye(len(rows))
        return cls(
            usual_probe=usual_probe,
            means=means,
            deviations=deviations,
            coordinates=coordinates,
            sorts=sorts,
            usual_gain=float(gains.mean()),
            usual_gains=usual_gains,
            pulls=np.linalg.solve(covariance, above_usual),
        )

    def predict(self, row: Described) -> float:
        """Return the expected score on the plateau, in points."""
        raw = _coordinates_of(row, self.usual_probe)[None]
        place = _standardised(raw, self.means, self.deviations)
        sort = row.block.sort
        closeness = _closeness(place, self.coordinates)[0] * (self.sorts == sort)
        gain = self.usual_gains.get(sort, self.usual_gain) + float(closeness @ self.pulls)
        return 100.0 / (1.0 + math.exp(-_log_odds(_probe_or(row, self.usual_probe)) - gain))


def _coordinates_of(row: Described, usual_probe: float) -> np.ndarray:
    """Return `(3,)`: log odds of the probe, and the features; NaN where unknown."""
    return np.array([_log_odds(_probe_or(row, usual_probe)), *row.vector(LEVEL_FEATURES)])


def _scale_of(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each coordinate; 0 and 1 of one that no block knows."""
    known = np.isfinite(raw)
    counts = np.maximum(known.sum(0), 1)
    filled = np.where(known, raw, 0.0)
    means = filled.sum(0) / counts
    deviations = np.sqrt((np.where(known, raw - means, 0.0) ** 2).sum(0) / counts)
    return means, np.where(deviations > 1e-9, deviations, 1.0)


def _standardised(raw: np.ndarray, means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    return np.nan_to_num((raw - means) / deviations, nan=0.0)  # the unknown is usual


def _closeness(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return `(here, there)` in (0, 1]: how much of their gains two places share."""
    squared = ((here[:, None] - there[None]) ** 2).sum(-1)
    closeness: np.ndarray = np.exp(-0.5 * squared / _LENGTH_SCALE**2)
    return closeness


def _probe_of(row: Described) -> float:
    return row.values.get(_PROBE, math.nan)


def _probe_or(row: Described, usual_probe: float) -> float:
    probe = _probe_of(row)
    return usual_probe if math.isnan(probe) else probe


def _log_odds(score: float) -> float:
    """Return the log odds of a score in [0, 1], which is never quite certain."""
    kept = min(1.0 - _CERTAIN, max(_CERTAIN, score))
    return math.log(kept / (1.0 - kept))
