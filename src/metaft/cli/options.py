"""Options that several commands share, and how sizes are read."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from metaft.cli.dataset import DatasetSource
from metaft.errors import UserError
from metaft.files import refuse_unwritable
from metaft.traces.durations import parse_duration

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Decorator = Callable[[_Command], _Command]

_MIB = {
    "kib": 1 / 1024,
    "mib": 1,
    "gib": 1024,
    "kb": 1e3 / 2**20,
    "mb": 1e6 / 2**20,
    "gb": 1e9 / 2**20,
}


def parse_size(text: str) -> float:
    """Read an amount of memory such as `4GiB` or `512MiB` as MiB.

    Raises:
        UserError: If it is no amount above zero.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().lower())
    mib = float(match[1]) * _MIB.get(match[2], 0) if match else 0
    if mib <= 0:
        raise UserError(
            f"{text!r} is no amount of memory; allowed are numbers above 0 with "
            "KiB, MiB, GiB, KB, MB or GB",
            "Write for example 4GiB",
        )
    return mib


def format_option(command: _Command) -> _Command:
    """Add `--format`, as the parameter `output_format`."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="How the answer is written to stdout.",
    )(command)


def offline_option(command: _Command) -> _Command:
    """Add `--offline`, as the parameter `offline`; the hub's library then knows it, too."""
    return click.option(
        "--offline",
        is_flag=True,
        callback=_go_offline,
        is_eager=True,
        help="Never try the hub; HF_HUB_OFFLINE=1 says the same.",
    )(command)


def dataset_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what names a dataset, its columns, and whether the hub may be asked.

    All of it arrives as the parameter `source`, a `DatasetSource`.
    """

    @functools.wraps(command)  # It takes over the options that `command` has already.
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

    return _applied(
        [
            click.option(
                "--dataset",
                required=True,
                metavar="NAME|PATH",
                callback=dataset_callback,
                help="A task's name, a hub id (owner/name[:config]), a file or a folder.",
            ),
            click.option("--text-column", metavar="NAME", help="Column of the text (or image)."),
            click.option("--text-pair-column", metavar="NAME", help="Column of the second text."),
            click.option("--label-column", metavar="NAME", help="Column of the label."),
            offline_option,
        ],
        with_source,
    )


def dataset_callback(_: click.Context, __: click.Parameter, value: str) -> str:
    """Spell a path that is called like a task so that it stays one: `imdb` becomes `./imdb`."""
    from metaft.tasks.card import load_cards
    from metaft.tasks.local import existing_path

    is_both = existing_path(value) is not None and value in load_cards()
    return f"./{value}" if is_both else value


def settings_option(what: str) -> Callable[[_Command], _Command]:
    """Return what adds `--set FIELD=VALUE`, as the mapping `settings`; `what` heads its help."""
    return click.option(
        "--set",
        "settings",
        multiple=True,
        callback=settings_callback,
        metavar="FIELD=VALUE",
        help=f"{what}; can be given several times.",
    )


def recipe_out_option(command: _Command) -> _Command:
    """Add `--out`, as the parameter `out`: a file for the recipe that was found."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        callback=out_callback,
        help="Write the recipe as YAML, too, for metaft finetune --recipe.",
    )(command)


def out_callback(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a place that cannot be written, for `click.option(callback=...)`."""
    if value is not None:
        refuse_unwritable(value)
    return value


def backbone_option(command: _Command) -> _Command:
    """Add `--backbone`, as the parameter `backbone`; None means the default."""
    return click.option(
        "--backbone",
        metavar="ID",
        callback=backbone_callback,
        help="A hub id, timm/NAME, a folder, or minilm, efficientnet_lite0, mobilenetv2; default: "
        "minilm for texts, mobilenetv2 for images.",
    )(command)


def backbone_callback(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> str | None:
    """Turn a short name into the identity, by which traces and priors know a backbone."""
    if value is None:
        return None
    from metaft.backbones.load import ALIASES

    return ALIASES.get(value, value)


def usual_backbone(tasks: Sequence[str]) -> str:
    """Return the backbone of tasks for which none is named.

    Args:
        tasks: Names of cards, at least one.

    Raises:
        UserError: If they are of texts and of images, which no backbone takes together.
    """
    from metaft.backbones.load import default_backbone
    from metaft.tasks.select import card_named

    modality_of = {name: card_named(name).modality for name in tasks}
    modalities = sorted(set(modality_of.values()))
    if len(modalities) > 1:
        first = {modality: name for name, modality in reversed(modality_of.items())}
        told = " and ".join(f"{modality}s ({first[modality]} ...)" for modality in modalities)
        raise UserError(
            f"--tasks selects {told}, and one backbone takes one of the two",
            "Add -kind:image_classification to --tasks, or name the --backbone: tasks that it does "
            "not take are left out",
        )
    return default_backbone(modality_of[tasks[0]])


def tasks_option(command: _Command) -> _Command:
    """Add `--tasks`, as the parameter `selector`."""
    return click.option(
        "--tasks",
        "selector",
        required=True,
        metavar="SELECTOR",
        help="Tasks: names, globs, bundled, mirror, all, kind:KIND; -NAME leaves out.",
    )(command)


def design_options(command: _Command) -> _Command:
    """Add what says which runs are made of each task.

    The parameters are `recipe_count`, `epochs`, `sizes`, `seeds`.
    """
    options: list[_Decorator[_Command]] = [
        click.option(
            "--recipes",
            "recipe_count",
            type=click.IntRange(1, 1024),
            default=12,
            show_default=True,
            help="Recipes of the shared design; more add to fewer, so nothing is made twice.",
        ),
        click.option(
            "--epochs",
            type=click.IntRange(1, 1000),
            default=6,
            show_default=True,
            help="Budget of every run; its curve answers for every smaller budget.",
        ),
        click.option(
            "--sizes",
            default="512",
            show_default=True,
            metavar="LIST",
            callback=_sizes_callback,
            help="Training rows; a smaller task is recorded once, with what it has.",
        ),
        click.option(
            "--seeds",
            type=click.IntRange(1, 1000),
            default=1,
            show_default=True,
            help="Runs of each recipe, with other seeds and other training rows.",
        ),
    ]
    return _applied(options, command)


def store_option(command: _Command) -> _Command:
    """Add `--store`, as the parameter `store`; None means the default store."""
    return click.option(
        "--store",
        metavar="URL",
        help="Trace store, a SQLAlchemy URL; default: a SQLite file in the user's data folder.",
    )(command)


def prior_option(command: _Command) -> _Command:
    """Add `--prior`, as the parameter `prior`; None means the shipped one."""
    return click.option(
        "--prior", metavar="NAME|DIR", help="Prior to ask; default: the shipped one."
    )(command)


def probe_option(command: _Command) -> _Command:
    """Add `--probe`, as the parameter `probe`."""
    return click.option(
        "--probe",
        is_flag=True,
        help="First take a few trial steps on the training rows, about a fifth of the training "
        "time of plain at 512 rows; needs a prior that was fitted with --probe.",
    )(command)


def workers_option(command: _Command) -> _Command:
    """Add `--workers`, as the parameter `workers`."""
    return click.option(
        "--workers",
        type=click.IntRange(1, 1024),
        default=_usable_cores,
        show_default="one per core",
        help="One-thread processes that make the runs.",
    )(command)


def time_limit_option(command: _Command) -> _Command:
    """Add `--time-limit`, as the parameter `time_limit_seconds`."""
    return click.option(
        "--time-limit",
        "time_limit_seconds",
        metavar="DURATION",
        callback=duration_callback,
        help="Start no run after this long, for example 90s, 30m or 2h.",
    )(command)


def cache_limit_option(command: _Command) -> _Command:
    """Add `--cache-limit`, as the parameter `cache_limit_bytes`; None means the default."""
    return click.option(
        "--cache-limit",
        "cache_limit_bytes",
        metavar="SIZE",
        show_default="2GiB",
        callback=_cache_limit_callback,
        help="Memory of each process for the hidden states of frozen blocks; more go to a "
        "temporary file. 0 computes them anew in every epoch.",
    )(command)


def duration_callback(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Read an option's value as seconds, for `click.option(callback=...)`."""
    return None if value is None else parse_duration(value)


def settings_callback(
    _: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Read `FIELD=VALUE`, given several times, for `click.option(callback=...)`."""
    pairs = [value.partition("=") for value in values]
    for name, sign, _value in pairs:
        if not sign:
            raise UserError(
                f"{option.opts[0]} is {name!r}, which sets nothing",
                f"Write it as {option.opts[0]} seed=1",
            )
    return {name.strip().replace("-", "_"): value.strip() for name, _, value in pairs}


def size_callback(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Read an option's value as MiB, for `click.option(callback=...)`."""
    return None if value is None else parse_size(value)


def _cache_limit_callback(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Read a size as bytes, where 0 is allowed, too."""
    if value is None or value.strip() == "0":
        return None if value is None else 0
    return max(1, round(parse_size(value) * 2**20))


def _sizes_callback(_: click.Context, __: click.Parameter, value: str) -> tuple[int, ...]:
    words = [word.strip() for word in value.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UserError(
            f"sizes is {value!r}; allowed are whole numbers above 0, separated by commas",
            "Write for example --sizes 128,512",
        )
    return tuple(dict.fromkeys(int(word) for word in words))


def _usable_cores() -> int:
    """Count the cores that this process may use, which can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _go_offline(_: click.Context, __: click.Parameter, offline: bool) -> bool:
    if offline:  # Before the hub's library is imported: it reads this once.
        os.environ["HF_HUB_OFFLINE"] = "1"
    return offline


def _applied(options: list[_Decorator[_Command]], command: _Command) -> _Command:
    """Apply options so that `--help` shows them in the order of the list."""
    for option in reversed(options):
        command = option(command)
    return command
