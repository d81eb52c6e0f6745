"""The walls of the house: who may import whom, who prints, and what nobody may do."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import metaft

_SOURCE = Path(metaft.__file__).parent
_MODULES = sorted(path for path in _SOURCE.rglob("*.py") if path != _SOURCE / "__init__.py")

# Imports point to a lower floor, or stay on their own without going in a circle.
_FLOORS = (
    {"errors", "files", "recipes", "significance"},
    {"tasks", "backbones"},
    {"finetuning", "features"},
    {"traces", "metalearning"},
    {"prior"},
    {"augmenting", "comparing", "searching"},
    {"studying"},
    {"service", "cli"},
)
_FLOOR_OF = {room: number for number, rooms in enumerate(_FLOORS) for room in rooms}
_HEAVY = {
    "datasets",
    "learn2learn",
    "matplotlib",
    "numpy",
    "pandas",
    "scipy",
    "sklearn",
    "timm",
    "torch",
    "transformers",
}
_SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def _room(path: Path) -> str:
    return path.relative_to(_SOURCE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[str]:
    """Yield the full name of every import of a module, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _imported_rooms(path: Path) -> set[str]:
    names = [name.split(".") for name in _imports(path)]
    return {parts[1] for parts in names if parts[0] == "metaft" and len(parts) > 1} - {_room(path)}


def _calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call with the text of what is called, such as `torch.load`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def _keywords(call: ast.Call) -> dict[str, str]:
    return {word.arg: ast.unparse(word.value) for word in call.keywords if word.arg}


def _named(path: Path) -> str:
    return str(path.relative_to(_SOURCE))


def test_every_room_is_on_the_plan() -> None:
    assert {_room(path) for path in _MODULES} <= set(_FLOOR_OF)


def test_imports_point_down() -> None:
    upward = {
        f"{_named(path)} -> {room}"
        for path in _MODULES
        for room in _imported_rooms(path)
        if _FLOOR_OF[room] > _FLOOR_OF[_room(path)]
    }
    assert upward == set()


def test_rooms_import_each_other_in_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in _MODULES:
        graph.setdefault(_room(path), set()).update(_imported_rooms(path))
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("errors", set()),
        ("files", {"errors"}),
        ("significance", set()),
        ("recipes", {"errors", "files"}),
    ],
)
def test_ground_floor_knows_no_room(room: str, allowed: set[str]) -> None:
    known = [_imported_rooms(path) for path in _MODULES if _room(path) == room]
    assert known
    assert set().union(*known) <= allowed


def test_only_the_command_line_prints() -> None:
    for path in _MODULES:
        if _room(path) != "cli":
            assert "click" not in {name.split(".")[0] for name in _imports(path)}, path
            assert "print" not in {name for name, _ in _calls(path)}, path


def test_names_say_something() -> None:
    assert [_named(path) for path in _MODULES if _SAYS_NOTHING & set(path.stem.split("_"))] == []


def test_input_is_checked_by_errors_not_asserts() -> None:
    asserts = {
        f"{_named(path)}:{node.lineno}"
        for path in _MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    }
    assert asserts == set()


def test_nothing_that_is_loaded_can_run_code() -> None:
    for path in _MODULES:
        assert not {"pickle", "dill", "cloudpickle", "shelve"} & set(_imports(path)), path
        for name, call in _calls(path):
            assert not _can_run_code(name, call), f"{_named(path)}:{call.lineno}"


def _can_run_code(name: str, call: ast.Call) -> bool:
    keywords = _keywords(call)
    if name == "torch.load":
        return keywords.get("weights_only") != "True"
    if name in {"yaml.load", "yaml.unsafe_load", "yaml.full_load"}:
        return "_LOADER" not in ast.unparse(call)  # the C version of the safe one
    return (
        name in {"eval", "exec"}
        or "allow_pickle" in keywords
        or keywords.get("trust_remote_code", "False") != "False"
    )


def test_room_files_hold_one_docstring() -> None:
    """An `__init__.py` that imports would load its whole room for whoever needs one module."""
    for path in _SOURCE.glob("*/__init__.py"):
        if path.parent.name in {"cli", "significance"}:  # one is a program, one a small library
            continue
        (only,) = ast.parse(path.read_text()).body
        assert isinstance(only, ast.Expr), path


@pytest.mark.parametrize(
    "program",
    [
        "import metaft",
        "import metaft.cli; metaft.cli.group(['--help'], standalone_mode=False)",
        "import metaft.cli as c; [c.group.get_command(None, name) for name in c.COMMANDS]",
    ],
    ids=["import metaft", "metaft --help", "every command's module"],
)
def test_start_is_light(program: str) -> None:
    listing = f"{program}\nimport sys; print('modules:', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", listing], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.rpartition("modules:")[2].split()
    assert _HEAVY & set(loaded) == set()
