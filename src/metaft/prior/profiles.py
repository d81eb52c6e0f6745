"""ProfileProcess: the profiles of scores of all tasks as one Gaussian process.

A *profile* is what every recipe scores on a block, relative to the block's mean. It is a
combination of the basis functions of the recipes; how much of the combination blocks share
follows from where they lie (same task, backbone, size; like features). A raw average over the
training tasks is the special case in which all share everything and nothing is noise; here
few traces are believed less than many, and sizes and backbones lend to each other.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metaft.prior.described import Described
from metaft.prior.places import Nearness, Places, Tuning, feature_groups
from metaft.prior.recipe_basis import RecipeBasis
from metaft.prior.scaling import Scaling
from metaft.prior.table import TraceTable

MOST_LOST_POINTS = 10.0
"""A cell this far below the block's best fell apart. What it lost beyond is kept out of the
process, which would take the cliff for a slope, and is averaged apart from it."""

MOST_TUNING_BLOCKS = 64
"""Variances are tuned on so many blocks at most: the work grows with their third power. They are
drawn: every second one, in order of task and size, would be those of one size."""

_VARIANCES = ("noise", "everywhere", "alike", "features", "own")
_SMALLEST_VARIANCE, _LARGEST_VARIANCE = 1e-2, 1e3
_PRECISIONS = (0.0, 0.25, 1.0, 4.0)


@dataclass(frozen=True, eq=False)
class Observed:
    """What a block's recorded cells say of its combination w: `targets = design @ w + noise`.

    Attributes:
        design: `(directions, rank)`.
        targets: `(directions,)`.
        residual: Sum of squares that no combination explains, in squared points.
        spare: Cells beyond the directions and the mean: what the residual is spread over.
    """

    design: np.ndarray
    targets: np.ndarray
    residual: float
    spare: int

    @classmethod
    def of(cls, scores: np.ndarray, functions: np.ndarray) -> Observed:
        """Condense the scores of a block `(cells,)` (NaN unknown), given `(cells, rank)`."""
        known = np.isfinite(scores)
        kept = kept_points(scores[known])
        centred = kept - kept.mean()
        functions = functions[known] - functions[known].mean(0)
        directions, strengths, axes = np.linalg.svd(functions, full_matrices=False)
        telling = strengths > 1e-6 * max(1.0, strengths[0])
        design = strengths[telling, None] * axes[telling]
        targets = directions[:, telling].T @ centred
        residual = float((centred**2).sum() - (targets**2).sum())
        return cls(design, targets, max(0.0, residual), max(0, len(kept) - 1 - len(targets)))


@dataclass(frozen=True, eq=False)
class ProfileProcess:
    """A Gaussian process over blocks and recipes.

    Attributes:
        basis: Of the recipes.
        scalings: Group of features -> its scaling.
        places: Of the training blocks.
        tuning: What is shared.
        system: What was observed there.
        excess: `(blocks, cells)` points lost beyond `MOST_LOST_POINTS`, NaN where unknown.
        precision: `(directions, directions)` inverse covariance of all that was observed.
    """

    basis: RecipeBasis
    scalings: dict[str, Scaling]
    places: Places
    tuning: Tuning
    system: System
    excess: np.ndarray
    precision: np.ndarray

    @classmethod
    def fit(
        cls,
        table: TraceTable,
        rows: Sequence[Described],
        tuning: Tuning | None = None,
        *,
        groups: Mapping[str, tuple[str, ...]] | None = None,
    ) -> ProfileProcess:
        """Fit to training blocks.

        Args:
            table: The training blocks alone.
            rows: Their descriptions, in the same order.
            tuning: What is shared; None finds it by the evidence of these blocks.
            groups: Name -> features by which tasks may share, and which the tuning is of; None
                takes all that these blocks have.
        """
        basis = RecipeBasis.of(table.space, [block.train_rows for block in table.blocks])
        groups = feature_groups(rows) if groups is None else groups
        scalings = {group: Scaling.fit(names, rows) for group, names in groups.items()}
        places = Places.of(rows, scalings)
        observed = _observe(table, basis)
        if tuning is None:
            tuning = _tune(observed, places, Tuning.start(groups))
        system = System.of(observed)
        precision = system.precision(Nearness.between(places, places), tuning)
        excess = np.array([kept_points(scores) - scores for scores in table.test])
        return cls(basis, scalings, places, tuning, system, excess, precision)

    def predict(
        self, row: Described, functions: np.ndarray, nearby: Sequence[np.ndarray] = ()
    ) -> Profile:
        """Say what is expected of a block.

        Args:
            row: The block that is asked about.
            functions: `(cells, rank)` its recipes in the basis.
            nearby: The same for recipes that are a little off, each time all of them.
        """
        nearness = Nearness.between(Places.of([row], self.scalings), self.places)
        of_blocks = nearness.covariance(self.tuning)[0]
        shared = of_blocks[self.system.owners]
        pull = self.system.designs * shared[:, None]  # (directions, rank)
        known = pull.T @ self.precision  # (rank, directions)
        # The own part of a task is no doubt about what tasks like it share, so it is left out.
        of_mean = self.tuning.shared * np.eye(functions.shape[1]) - known @ pull
        centred = functions - functions.mean(0)
        combination = known @ self.system.targets
        lost = [(functions - off) @ combination for off in nearby]
        return Profile(
            effects=centred @ combination,
            excess=_weighted_mean(self.excess, of_blocks),
            spread=centred @ _root(of_mean),
            at_stake=np.max([np.zeros(len(functions)), *lost], axis=0),
        )


@dataclass(frozen=True, eq=False)
class Profile:
    """What is expected of the cells of one block.

    Attributes:
        effects: `(cells,)` points relative to their mean, no cell further than
            `MOST_LOST_POINTS` below the best.
        excess: `(cells,)` points expected to be lost beyond that.
        spread: `(cells, rank)` whose inner products are the covariance of what is not known of
            the effects that tasks like this one have on average, in squared points.
        at_stake: `(cells,)` points that are lost at most by what is a little off.
    """

    effects: np.ndarray
    excess: np.ndarray
    spread: np.ndarray
    at_stake: np.ndarray


def kept_points(scores: np.ndarray) -> np.ndarray:
    """Return scores in points, none more than `MOST_LOST_POINTS` below the best."""
    kept: np.ndarray = np.maximum(scores, np.nanmax(scores) - MOST_LOST_POINTS)
    return kept


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average over the blocks that know a cell; 0 where none does."""
    weights = weights[:, None] * np.isfinite(values)
    total = weights.sum(0)
    mean: np.ndarray = (weights * np.nan_to_num(values)).sum(0) / np.maximum(total, 1e-12)
    return mean


def _observe(table: TraceTable, basis: RecipeBasis) -> list[Observed]:
    expand = functools.cache(lambda rows: basis.expand(table.space.cells, rows))
    return [
        Observed.of(scores, expand(block.train_rows))
        for scores, block in zip(table.test, table.blocks, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class System:
    """All directions of all blocks.

    Attributes:
        owners: `(directions,)` number of the block.
        designs: `(directions, rank)`.
        targets: `(directions,)` in points.
        residual: Sum of squares that no combination explains, in squared points.
        spare: What that is spread over.
    """

    owners: np.ndarray
    designs: np.ndarray
    targets: np.ndarray
    residual: float
    spare: int

    @classmethod
    def of(cls, observed: Sequence[Observed]) -> System:
        """Put the blocks one below the other."""
        return cls(
            owners=np.repeat(np.arange(len(observed)), [len(o.targets) for o in observed]),
            designs=np.concatenate([block.design for block in observed]),
            targets=np.concatenate([block.targets for block in observed]),
            residual=sum(block.residual for block in observed),
            spare=sum(block.spare for block in observed),
        )

    def precision(self, nearness: Nearness, tuning: Tuning) -> np.ndarray:
        """Return the inverse covariance `(directions, directions)` of the targets."""
        from scipy.linalg import cho_solve

        factor = self._factor(self.overlaps, nearness, tuning)
        precision: np.ndarray = cho_solve((factor, True), np.eye(len(factor)), check_finite=False)
        return precision

    def log_evidence(self, overlaps: np.ndarray, nearness: Nearness, tuning: Tuning) -> float:
        """Return the log marginal likelihood, but for a constant.

        Args:
            overlaps: `overlaps` of this system, which every call needs.
            nearness: Of its blocks.
            tuning: To be judged.

        Source:
            Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, eq. 2.30.
        """
        from scipy.linalg import solve_triangular

        factor = self._factor(overlaps, nearness, tuning)
        white = solve_triangular(factor, self.targets, lower=True, check_finite=False)
        fit = -0.5 * float(white @ white) - float(np.log(np.diag(factor)).sum())
        return fit - 0.5 * (self.residual / tuning.noise + self.spare * np.log(tuning.noise))

    @property
    def overlaps(self) -> np.ndarray:
        """Return the inner products `(directions, directions)` of the designs."""
        overlaps: np.ndarray = self.designs @ self.designs.T
        return overlaps

    def _factor(self, overlaps: np.ndarray, nearness: Nearness, tuning: Tuning) -> np.ndarray:
        from scipy.linalg import cholesky

        shared = nearness.covariance(tuning)
        covariance = overlaps * shared[np.ix_(self.owners, self.owners)]
        covariance[np.diag_indices_from(covariance)] += tuning.noise
        factor: np.ndarray = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        return factor


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return R with R R' = covariance; what rounding made negative is 0."""
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    root: np.ndarray = vectors * np.sqrt(np.maximum(values, 0.0))
    return root


def draw_blocks(blocks: int) -> np.ndarray:
    """Return the numbers of the blocks that variances are tuned on, the same ones every time."""
    return np.sort(np.random.default_rng(0).permutation(blocks)[:MOST_TUNING_BLOCKS])


def _tune(observed: Sequence[Observed], places: Places, start: Tuning) -> Tuning:
    """Climb the evidence: each variance by factors of two, each precision over a few values."""
    drawn = draw_blocks(len(observed))
    places = places.take(drawn)
    system = System.of([observed[at] for at in drawn])
    overlaps, nearness = system.overlaps, Nearness.between(places, places)
    best = _Climb(start, functools.partial(system.log_evidence, overlaps, nearness))
    for name in _VARIANCES:
        if getattr(start, name):
            best.walk(functools.partial(_halved_or_doubled, name))
    if start.features:
        for group in start.precisions:
            best.choose(_with_precision(best.tuning, group))
    return best.tuning


class _Climb:
    """The best tuning so far."""

    def __init__(self, start: Tuning, evidence: Callable[[Tuning], float]) -> None:
        self.tuning, self._evidence = start, evidence
        self._best = evidence(start)

    def choose(self, candidates: Iterator[Tuning]) -> bool:
        """Take a candidate that is better; say whether there was one."""
        before = self._best
        for candidate in candidates:
            found = self._evidence(candidate)
            if found > self._best + 1e-6:
                self.tuning, self._best = candidate, found
        return self._best > before

    def walk(self, neighbours: Callable[[Tuning], Iterator[Tuning]]) -> None:
        """Go on to better neighbours until there is none."""
        while self.choose(neighbours(self.tuning)):
            pass


def _halved_or_doubled(name: str, tuning: Tuning) -> Iterator[Tuning]:
    for factor in (0.5, 2.0):
        value = getattr(tuning, name) * factor
        if _SMALLEST_VARIANCE <= value <= _LARGEST_VARIANCE:
            yield dataclasses.replace(tuning, **{name: value})


def _with_precision(tuning: Tuning, group: str) -> Iterator[Tuning]:
    for value in _PRECISIONS:
        if value != tuning.precisions[group]:
            yield dataclasses.replace(tuning, precisions={**tuning.precisions, group: value})
