"""The group: lazy commands, exit statuses, one message instead of a traceback."""

from __future__ import annotations

import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from metaft import cli
from metaft.errors import RunFailedError, TaskError

_HELP_SECONDS = 0.5


def _run_failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, *options: str) -> Result:
    """Run a command that raises; the real group decides what becomes of it."""

    def fail() -> None:
        raise error

    command = click.Command("fail", callback=fail)
    monkeypatch.setattr(cli._LazyGroup, "get_command", lambda *_: command)
    return CliRunner().invoke(cli.group, [*options, "fail"])


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (TaskError("there is no dataset 'x'", "Name another"), 2, "there is no dataset 'x'"),
        (RunFailedError("every run diverged"), 1, "every run diverged"),
        (PermissionError(13, "Permission denied", "/out"), 1, "Permission denied: '/out'"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_raised_on_purpose_is_one_message_and_a_status(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, message: str
) -> None:
    result = _run_failing(monkeypatch, error)
    assert result.exit_code == status
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_debug_lets_the_error_through(monkeypatch: pytest.MonkeyPatch) -> None:
    error = TaskError("there is no dataset 'x'")
    assert _run_failing(monkeypatch, error, "--debug").exception is error


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ZeroDivisionError()
    assert _run_failing(monkeypatch, error).exception is error


@pytest.mark.parametrize("arguments", [["no-such-command"], ["--no-such-option"], ["finetune"]])
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli.group, arguments).exit_code == 2


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(cli.group, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Usage: ")


def test_short_help_reaches_the_commands() -> None:
    """In a process of its own: click remembers the help options of a command's first call."""
    program = Path(sys.executable).with_name("metaft")
    done = subprocess.run([program, "finetune", "-h"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("Usage: metaft finetune")


def test_help_lists_every_command_with_a_line() -> None:
    listed = CliRunner().invoke(cli.group, ["--help"]).stdout.split("Commands:")[1]
    rows = [line.split(maxsplit=1) for line in listed.strip().splitlines()]
    assert tuple(row[0] for row in rows if len(row) == 2) == cli.COMMANDS
    assert not [row[1] for row in rows if row[1].endswith("...")]  # click cuts long lines


def test_version_is_that_of_the_package() -> None:
    result = CliRunner().invoke(cli.group, ["--version"], prog_name="metaft")
    assert result.stdout == f"metaft {version('metaft')}\n"


def test_help_is_quick() -> None:
    """In processor seconds: what the program needs, not what its neighbours leave it."""
    before = _children_seconds()
    subprocess.run(
        [Path(sys.executable).with_name("metaft"), "--help"], check=True, capture_output=True
    )
    assert _children_seconds() - before < _HELP_SECONDS


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
