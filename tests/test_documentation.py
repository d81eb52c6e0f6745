"""The documents tell the truth: commands, options, examples, links, dependencies, cards."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

import metaft
from metaft import cli
from metaft.tasks.card import load_cards

_ROOT = Path(__file__).resolve().parents[1]
_README = (_ROOT / "README.md").read_text()
_DOCUMENTS = sorted([*_ROOT.glob("*.md"), *_ROOT.glob("docs/*.md")])


def _commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its full name, such as `tasks list`."""
    for name in cli.COMMANDS:
        command = cli.group.get_command(click.Context(cli.group), name)
        assert command is not None, name
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())
        else:
            yield name, command


_COMMANDS = dict(_commands())


def _options(command: click.Command) -> set[str]:
    options = [option for option in command.params if isinstance(option, click.Option)]
    return {name for option in options for name in option.opts if name.startswith("--")}


def _first_word(name: str) -> str:
    return name.partition(" ")[0]


def _section(name: str) -> str:
    """Return the part of the README under the heading of a command."""
    _, heading, rest = _README.partition(f"\n### `metaft {name}`")
    assert heading, f"the README has no section for metaft {name}"
    return re.split(r"\n#{2,3} ", rest)[0]


def _fenced(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)


def _examples() -> Iterator[str]:
    """Yield every call of metaft in the documents, continued lines joined."""
    for document in _DOCUMENTS:
        for block in [*_fenced(document, "bash"), *_fenced(document, "console")]:
            for line in block.replace("\\\n", " ").splitlines():
                call = re.search(r"(?:^|[ /])(metaft .*)", line.split(" #")[0])
                if call and not line.startswith(("pip ", "uv ", "git ")):
                    yield call[1]


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_option_is_documented(name: str) -> None:
    section = _section(_first_word(name))
    missing = {option for option in _options(_COMMANDS[name]) if f"`{option}" not in section}
    assert missing == set()


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_documented_option_exists(name: str) -> None:
    documented = set(re.findall(r"`(--[a-z-]+)", _section(name)))
    exist = [_options(found) for full, found in _COMMANDS.items() if _first_word(full) == name]
    assert documented <= set().union(*exist)


def test_every_subcommand_is_documented() -> None:
    nested = [name for name in _COMMANDS if " " in name]
    assert [name for name in nested if f"`metaft {name}" not in _section(_first_word(name))] == []


def test_there_are_examples() -> None:
    assert len(list(_examples())) >= 4


@pytest.mark.parametrize("example", list(_examples()))
def test_examples_parse(example: str) -> None:
    words = shlex.split(example)[1:]
    if words[0].startswith("-"):
        return
    names = " ".join(words[:2]) if " ".join(words[:2]) in _COMMANDS else words[0]
    _COMMANDS[names].make_context(names, words[len(names.split()) :])


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: path.name)
def test_python_examples_compile_and_use_public_names(document: Path) -> None:
    for block in _fenced(document, "python"):
        compile(block, document.name, "exec")
        assert set(re.findall(r"\bmetaft\.([a-zA-Z_]+)\(", block)) <= set(metaft.__all__)


@pytest.mark.parametrize("name", metaft.__all__)
def test_public_names_can_be_imported(name: str) -> None:
    assert getattr(metaft, name) is not None


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    declared = [
        *project["project"]["dependencies"],
        *(name for extra in project["project"]["optional-dependencies"].values() for name in extra),
        *(name for group in project["dependency-groups"].values() for name in group),
    ]
    names = {re.split(r"[>=<\[]", name)[0] for name in declared}
    table = _README.partition("## Dependencies")[2].split("\n## ")[0]
    assert {name for name in names if f"`{name}`" not in table} == set()


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    pinned = {pin.partition("==")[0] for pin in project["tool"]["uv"]["constraint-dependencies"]}
    declared = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    assert {re.split(r"[>=<\[]", name)[0] for name in declared} <= pinned


def test_shipped_yaml_parses() -> None:
    for folder in ("tasks", "scripts"):
        for path in (_ROOT / folder).glob("*.yaml"):
            assert isinstance(yaml.safe_load(path.read_text()), dict), path


def test_every_shipped_card_is_one() -> None:
    assert len(load_cards()) == len(list((_ROOT / "tasks").glob("*.yaml")))
