"""Fresh runs: what a prior's suggestions reached on tasks that it had not seen."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaft.prior.evidence import nearest_size, read_evidence, save_evidence
from metaft.prior.wording import p_note

FRESH_RUNS = "fresh_runs.json"
SIGNIFICANT = 0.05
"""Level of the tests, as the protocol of docs/prior.md ("Fresh runs") has it."""

_COMPARE = "python scripts/fresh_tests.py docs/results/fresh --prior PRIOR_DIR"


@dataclass(frozen=True, slots=True)
class Lead:
    """A difference between two paired scores, and what its tests said.

    Attributes:
        points: Mean over the tasks.
        low, high: 95 % interval of the mean, by bootstrap.
        t_p_value, wilcoxon_p_value: Of the paired tests, corrected where the protocol corrects.
    """

    points: float
    low: float
    high: float
    t_p_value: float
    wilcoxon_p_value: float

    @property
    def is_shown(self) -> bool:
        """Whether it differs from zero, by both tests."""
        return max(self.t_p_value, self.wilcoxon_p_value) < SIGNIFICANT


@dataclass(frozen=True, slots=True)
class FreshSize:
    """The suggestion's runs at one size.

    Attributes:
        train_rows: Training rows of the runs.
        seeds: Runs of each method on each task.
        on_plain: Suggestion less plain fine-tuning.
        on_average: Suggestion less the recipe that is best on average over the prior's tasks.
        on_predicted: Score that was reached less the score that was predicted.
    """

    train_rows: int
    seeds: int
    on_plain: Lead
    on_average: Lead
    on_predicted: Lead


@dataclass(frozen=True, slots=True)
class FreshRuns:
    """What fresh runs said of one prior.

    Attributes:
        prior: Name and version of the prior that was asked.
        backbone: Identity of what was fine-tuned.
        tasks: Unseen tasks that were compared on.
        sizes: What was found at each size, smallest first.
    """

    prior: str
    backbone: str
    tasks: int
    sizes: tuple[FreshSize, ...]

    def save(self, folder: Path) -> None:
        """Write it into a prior's folder."""
        save_evidence(self, folder / FRESH_RUNS)

    @classmethod
    def read(cls, folder: Path) -> FreshRuns | None:
        """Read it from a prior's folder; None where nothing was run.

        Raises:
            PriorError: If the file is broken or of another schema.
        """

        def build(values: dict[str, Any]) -> FreshRuns:
            return cls(**{**values, "sizes": tuple(map(_size_of, values["sizes"]))})

        return read_evidence(folder / FRESH_RUNS, build, _COMPARE)


def _size_of(values: dict[str, Any]) -> FreshSize:
    leads = {name: Lead(**values[name]) for name in ("on_plain", "on_average", "on_predicted")}
    return FreshSize(**{**values, **leads})


@dataclass(frozen=True, slots=True)
class FreshNote:
    """What fresh runs say to one suggestion.

    Attributes:
        prior: Name and version of the prior that was asked for them.
        tasks: Unseen tasks that were compared on.
        found: At the size most like that of the suggestion.
    """

    prior: str
    tasks: int
    found: FreshSize

    @property
    def said(self) -> str:
        """Return it in one sentence, with what it does not show."""
        found = self.found
        is_gain = found.on_average.points > 0 and found.on_average.is_shown
        better = "" if is_gain else ", so not shown to beat that one fixed recipe"
        return (
            f"on {self.tasks} unseen tasks at {found.train_rows:,} rows {self.prior} gained "
            f"{_in_words(found.on_plain)} on plain and {_in_words(found.on_average)} on the "
            f"recipe that is best on average{better}{_missed(found.on_predicted)}"
        )

    def to_mapping(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**dataclasses.asdict(self), "said": self.said}


def note_fresh_runs(folder: Path, backbone: str, train_rows: int) -> FreshNote | None:
    """Return what fresh runs say to a suggestion; None where none were like it.

    Args:
        folder: Of the prior.
        backbone: Identity of the backbone of the suggested run.
        train_rows: Its training rows.

    Raises:
        PriorError: If what the comparison left cannot be read.
    """
    runs = FreshRuns.read(folder)
    if runs is None or runs.backbone != backbone:
        return None
    nearest = nearest_size(runs.sizes, train_rows)
    return None if nearest is None else FreshNote(runs.prior, runs.tasks, nearest)


def _in_words(lead: Lead) -> str:
    p_value = max(lead.t_p_value, lead.wilcoxon_p_value)
    return f"{lead.points:+.1f} points ({p_note(p_value)})"


def _missed(on_predicted: Lead) -> str:
    """Say how far the scores lay from what was promised, where that was more than chance."""
    if not on_predicted.is_shown:
        return ""
    side = "below" if on_predicted.points < 0 else "above"
    return f"; scores lay {abs(on_predicted.points):.1f} points {side} what it had expected"
