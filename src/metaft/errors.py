"""Every error that metaft raises on purpose.

A message says what is wrong, with the value, what is allowed, and the cure. Messages of
`UserError` reach the user as they are: one message, exit status 2, no traceback.
"""

from __future__ import annotations


class MetaftError(Exception):
    """The base of everything metaft raises on purpose."""


class UserError(MetaftError):
    """The user's input was wrong.

    Args:
        problem: What is wrong: the field or file, its value, and what is allowed.
        cure: What to do about it, as an imperative sentence without its full stop.
    """

    def __init__(self, problem: str, cure: str = "") -> None:
        self.problem = problem
        self.cure = cure
        super().__init__(f"{problem}. {cure}." if cure else f"{problem}.")

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str]]:
        # Without it, an error that crosses processes says its cure twice.
        return type(self), (self.problem, self.cure)


class TaskError(UserError):
    """A dataset, a task card or a column cannot be used."""


class BackboneError(UserError):
    """A backbone or its weights cannot be used."""


class RecipeError(UserError):
    """A Recipe holds a value outside its range."""


class StoreError(UserError):
    """A trace store cannot be opened, read or written."""


class MappingError(UserError):
    """A mapping of somebody else's runs is wrong, or does not fit their table."""


class StudyError(UserError):
    """A study card is wrong, or cannot be found."""


class PackError(UserError):
    """A pack of runs cannot be written, read or trusted."""


class PriorError(UserError):
    """A prior cannot be found, read or used."""


class MissingExtraError(UserError):
    """An optional dependency is not installed."""


class RunFailedError(MetaftError):
    """A run was started on sound input and failed: exit status 1."""
