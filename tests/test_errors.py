"""What users read when their input was wrong."""

from __future__ import annotations

import inspect
import pickle

import pytest

from metaft import errors


def test_message_names_problem_and_cure() -> None:
    error = errors.UserError("rows is 3, but at least 8 are needed", "Add rows")
    assert str(error) == "rows is 3, but at least 8 are needed. Add rows."


def test_message_without_cure_is_one_sentence() -> None:
    assert str(errors.UserError("the file is empty")) == "the file is empty."


def test_failed_run_is_not_the_users_fault() -> None:
    assert not issubclass(errors.RunFailedError, errors.UserError)


@pytest.mark.parametrize("kind", [kind for _, kind in inspect.getmembers(errors, inspect.isclass)])
def test_every_error_is_one_of_metaft(kind: type[Exception]) -> None:
    assert issubclass(kind, errors.MetaftError)


def test_an_error_that_crosses_processes_says_the_same() -> None:
    error = errors.TaskError("rows is 3, but at least 8 are needed", "Add rows")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
