"""The dataset a command is about: its options, its rows, and what a prior says of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from metaft.cli.options import apply_options, offline_option
from metaft.cli.output import print_notice

if TYPE_CHECKING:
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
        self, task: Task, *, backbone: str | None, prior: str | None, rows: int | None, **asked: Any
    ) -> Suggestion:
        """Return what a prior suggests; what it could not use goes to stderr.

        Args:
            task: The rows, loaded.
            backbone: Identity; None takes the one that the prior knows.
            prior: Name or folder; None takes the shipped one that knows most.
            rows: Training rows of the run; None, or more than there are, takes all.
            asked: What else `suggest_for` may be asked.

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
            **asked,
        )
        if suggestion.fallback:
            print_notice(f"fallback: {suggestion.fallback}")
        if suggestion.screening and suggestion.screening.applied:
            print_notice(f"screened: {suggestion.screening.said}")
        return suggestion


def dataset_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what names a dataset, its columns, and whether the hub may be asked.

    All of it arrives as the parameter `source`, a `DatasetSource`.
    """

    @functools.wraps(command)
    def with_source(
        *,
        dataset: str,
        text_column: str | None,
        text_pair_column: str | None,
        label_column: str | None,
        offline: bool,
        **others: Any,
    ) -> Any:
        source = DatasetSource(dataset, text_column, text_pair_column, label_column, offline)
        return command(source=source, **others)

    return apply_options(
        [
            click.option(
                "--dataset",
                required=True,
                metavar="NAME|PATH",
                callback=_keep_paths,
                help="A task's name, a hub id (owner/name[:config]), a file or a folder.",
            ),
            click.option("--text-column", metavar="NAME", help="Column of the text (or image)."),
            click.option("--text-pair-column", metavar="NAME", help="Column of the second text."),
            click.option("--label-column", metavar="NAME", help="Column of the label."),
            offline_option,
        ],
        with_source,
    )


def _keep_paths(_: click.Context, __: click.Parameter, value: str) -> str:
    """Spell a path that is called like a task so that it stays one: `imdb` becomes `./imdb`."""
    from metaft.tasks.card import load_cards
    from metaft.tasks.local import existing_path

    is_both = existing_path(value) is not None and value in load_cards()
    return f"./{value}" if is_both else value
