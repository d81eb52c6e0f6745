"""The command line: one command per file, imported when it is asked for."""

from __future__ import annotations

import importlib
import logging
import os
from typing import Any

import click

from metaft.errors import RunFailedError, UserError

COMMANDS = (
    "tasks",
    "meta-train",
    "suggest",
    "finetune",
    "predict",
    "search",
    "augment",
    "compare",
    "study",
    "traces",
    "prior",
)
"""In the order of the path: what there is to learn from, learning, using, judging, keeping."""


class _WrongInput(click.ClickException):
    exit_code = 2


class _RunFailed(click.ClickException):
    exit_code = 1


class _Stopped(click.ClickException):
    exit_code = 130  # What shells report of a program that Ctrl-C ended: 128 + SIGINT.


class _LazyGroup(click.Group):
    """Finds command `some-name` as `command` in `metaft.cli.some_name`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what metaft raises on purpose becomes a message and a status."""
        try:
            return super().invoke(ctx)
        except (UserError, RunFailedError, OSError, KeyboardInterrupt) as error:
            if ctx.params["debug"] or isinstance(error, BrokenPipeError):
                raise
            raise _as_failure(error) from error


def _as_failure(error: BaseException) -> click.ClickException:
    if isinstance(error, KeyboardInterrupt):
        return _Stopped("stopped by Ctrl-C.")
    return _WrongInput(str(error)) if isinstance(error, UserError) else _RunFailed(str(error))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="metaft", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks and what the library logs.")
def group(debug: bool) -> None:
    """Learn from past fine-tuning runs, so that the next one needs no search."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    if debug:
        logging.getLogger("metaft").setLevel(logging.DEBUG)
    # Read by the libraries when they are imported, so they must be set before.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # metaft forks its workers.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Threads that wait by spinning take the cores from those that work: beside other busy
    # processes a run on two threads took seven times as long (see docs/design.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main() -> None:
    """Run the command line and exit with its status."""
    group(prog_name="metaft")
