"""The dataset a command is about: its rows, and what a prior says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from metaft.cli.output import print_notice

if TYPE_CHECKING:
    from metaft.prior.choice import Goal
    from metaft.prior.suggestion import Suggestion
    from metaft.tasks.columns import ColumnNames
    from metaft.tasks.task import Task


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """A dataset as the user named it.

    Attributes:
        name: A task's name, a hub id, or a path.
        text_column, text_pair_column, label_column: Columns that were named; None where they are
            to be recognised.
        offline: The hub is never asked.
    """

    name: str
    text_column: str | None = None
    text_pair_column: str | None = None
    label_column: str | None = None
    offline: bool = False

    @property
    def columns(self) -> ColumnNames:
        """The columns, as `load_task` takes them."""
        from metaft.tasks.columns import ColumnNames

        return ColumnNames(self.text_column, self.text_pair_column, self.label_column)

    def load(self) -> Task:
        """Return the whole task; what was changed to make it one goes to stderr.

        Raises:
            TaskError: If there is no such dataset, or it cannot be used as it is.
        """
        from metaft.tasks.load import load_task

        task = load_task(self.name, columns=self.columns, offline=self.offline)
        for notice in task.notices:
            print_notice(notice)
        return task

    def ask_prior(
        self,
        task: Task,
        *,
        backbone: str | None,
        prior: str | None,
        rows: int | None,
        top: int,
        goal: Goal = "score",
        probe: bool = False,
    ) -> Suggestion:
        """Return what a prior suggests; what it could not use goes to stderr.

        Args:
            task: The rows, loaded.
            backbone: Identity; None takes the one that the prior knows.
            prior: Name or folder; None takes the shipped one that knows most.
            rows: Training rows of the run; None, or more than there are, takes all.
            top: Recipes wanted, >= 1.
            goal: What the recipe seeks.
            probe: Whether a few trial steps are taken first.

        Raises:
            UserError: If prior or backbone cannot be had.
        """
        from metaft.prior.ask import suggest_for

        suggestion = suggest_for(
            self.name,
            backbone=backbone,
            prior=prior,
            rows=min(rows or len(task.train), len(task.train)),
            columns=self.columns,
            offline=self.offline,
            task=task,
            top=top,
            goal=goal,
            probe=probe,
        )
        if suggestion.fallback:
            print_notice(f"fallback: {suggestion.fallback}")
        if suggestion.screening and suggestion.screening.applied:
            print_notice(f"screened: {suggestion.screening.said}")
        return suggestion
