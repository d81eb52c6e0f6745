"""Places: where blocks lie, and how much of their profiles two of them share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metaft.features.trial import TRIAL_FEATURES
from metaft.prior.described import Described
from metaft.prior.scaling import Scaling

FEATURE_GROUPS: dict[str, tuple[str, ...]] = {
    "labels": ("log2_classes", "log2_rows_per_class", "label_entropy", "majority_share"),
    "probe": (
        "probe_100",
        "probe_best",
        "probe_best_depth",
        "probe_above_guess",
        "probe_gain_by_rows",
    ),
    "words": (
        "probe_words",
        "type_token_ratio",
        "word_length",
        "non_ascii_share",
        "digit_share",
        "uppercase_share",
        "log2_tokens_q50",
        "log2_tokens_q95",
    ),
    "pairs": ("is_pair", "pair_overlap"),
}
"""Group -> features that count together, as their mean squared difference."""

_PROBED_GROUPS = {**FEATURE_GROUPS, "trial": TRIAL_FEATURES}
_FIRST_PRECISION = 0.25

SIZE_SCALE = 1.5
"""log2 of the ratio of train sizes over which profiles forget each other; assumed, not fitted."""

OTHER_BACKBONE = 0.5
"""Share of a profile that carries over to another backbone; assumed, not fitted."""

OTHER_SORT = 0.5
"""Share of a profile that carries over from classes to tags, say; assumed, not fitted."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How much of what a task's profile of scores is shared; variances in squared points.

    Attributes:
        noise: Of one measured score.
        everywhere: Shared by all blocks.
        alike: Shared by blocks of like size and the same backbone.
        features: Shared by tasks with like features.
        own: Shared by the blocks of one task alone.
        precisions: Group of features -> inverse squared length scale, 0 where it does not count.
    """

    noise: float = 4.0
    everywhere: float = 4.0
    alike: float = 4.0
    features: float = 8.0
    own: float = 4.0
    precisions: Mapping[str, float] = field(
        default_factory=lambda: dict.fromkeys(FEATURE_GROUPS, _FIRST_PRECISION)
    )

    @classmethod
    def start(cls, groups: Iterable[str]) -> Tuning:
        """Return where the climb to what the evidence says begins, for some groups."""
        start = cls(precisions=dict.fromkeys(groups, _FIRST_PRECISION))
        return start if start.precisions else start.without_features

    @property
    def shared(self) -> float:
        """Return the variance of what a block shares with others that lie where it does."""
        return self.everywhere + self.alike + self.features

    @property
    def without_features(self) -> Tuning:
        """Return the same for a process that does not know one task from another."""
        return dataclasses.replace(
            self,
            everywhere=self.everywhere + self.features,
            features=0.0,
            precisions=dict.fromkeys(self.precisions, 0.0),
        )


@dataclass(frozen=True, eq=False)
class Places:
    """Where blocks lie.

    Attributes:
        tasks, backbones, sorts: `(blocks,)` names.
        log2_rows: `(blocks,)`.
        features: Group -> `(blocks, features)` standardised.
    """

    tasks: np.ndarray
    backbones: np.ndarray
    sorts: np.ndarray
    log2_rows: np.ndarray
    features: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, rows: Sequence[Described], scalings: Mapping[str, Scaling]) -> Places:
        """Locate described blocks.

        Args:
            rows: The blocks.
            scalings: Group -> scaling of its features.
        """
        return cls(
            tasks=np.array([row.task for row in rows]),
            backbones=np.array([row.backbone for row in rows]),
            sorts=np.array([row.block.sort for row in rows]),
            log2_rows=np.log2([row.train_rows for row in rows]),
            features={
                group: np.array([scaling.apply(row) for row in rows])
                for group, scaling in scalings.items()
            },
        )

    def __len__(self) -> int:
        return len(self.tasks)

    def take(self, at: np.ndarray) -> Places:
        """Return some of the blocks."""
        features = {group: values[at] for group, values in self.features.items()}
        return dataclasses.replace(
            self,
            tasks=self.tasks[at],
            backbones=self.backbones[at],
            sorts=self.sorts[at],
            log2_rows=self.log2_rows[at],
            features=features,
        )


@dataclass(frozen=True, eq=False)
class Nearness:
    """How near blocks are to each other, before a tuning says what that means.

    Attributes:
        same_task: `(blocks, others)` 1 or 0.
        same_backbone: `(blocks, others)` 1 or `OTHER_BACKBONE`.
        same_sort: `(blocks, others)` 1 or `OTHER_SORT`.
        like_size: `(blocks, others)` in (0, 1].
        squared: Group -> `(blocks, others)` mean squared difference of its features.
    """

    same_task: np.ndarray
    same_backbone: np.ndarray
    same_sort: np.ndarray
    like_size: np.ndarray
    squared: Mapping[str, np.ndarray]

    @classmethod
    def between(cls, one: Places, other: Places) -> Nearness:
        """Compare every block with every other."""
        sizes = (one.log2_rows[:, None] - other.log2_rows[None, :]) / SIZE_SCALE
        same_backbone = one.backbones[:, None] == other.backbones[None, :]
        same_sort = one.sorts[:, None] == other.sorts[None, :]
        return cls(
            same_task=(one.tasks[:, None] == other.tasks[None, :]).astype(np.float64),
            same_backbone=np.where(same_backbone, 1.0, OTHER_BACKBONE),
            same_sort=np.where(same_sort, 1.0, OTHER_SORT),
            like_size=np.exp(-0.5 * sizes**2),
            squared={
                group: _mean_squared(values, other.features[group])
                for group, values in one.features.items()
            },
        )

    def covariance(self, tuning: Tuning) -> np.ndarray:
        """Return the covariance of profiles `(blocks, others)`, in squared points."""
        alike = self.like_size * self.same_backbone
        covariance = tuning.everywhere + tuning.alike * alike + tuning.own * self.same_task * alike
        if tuning.features:
            # A tuning found where no task was probed knows nothing of trial steps.
            known = [group for group in self.squared if group in tuning.precisions]
            away = sum(tuning.precisions[group] * self.squared[group] for group in known)
            covariance = covariance + tuning.features * np.exp(-0.5 * away) * self.same_backbone
        return np.asarray(covariance * self.same_sort)


def feature_groups(rows: Iterable[Described]) -> Mapping[str, tuple[str, ...]]:
    """Return the groups of features that some rows have: a trial's where one was probed."""
    return _PROBED_GROUPS if any(row.is_probed for row in rows) else FEATURE_GROUPS


def _mean_squared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    squared: np.ndarray = ((one[:, None, :] - other[None, :, :]) ** 2).mean(-1)
    return squared
