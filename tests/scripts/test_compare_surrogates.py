from __future__ import annotations

from pathlib import Path

import compare_surrogates
import pytest
from compare_surrogates import World
from surrogates import SURROGATES

from metaft.prior.prior import Prior

SHIPPED = Path(__file__).parents[2] / "priors" / "minilm-text-v1"
TASKS = ("emotion", "liar", "snips")


@pytest.fixture(scope="module")
def few() -> World:
    """Return the shipped traces of a few tasks."""
    world = World.of(Prior.load(SHIPPED))
    kept = [at for at, row in enumerate(world.rows) if row.task in TASKS]
    return World(world.table.take(kept), [world.rows[at] for at in kept], world.relatives)


def test_every_model_has_its_line(few: World, capsys: pytest.CaptureFixture[str]) -> None:
    compare_surrogates.compare_models(few, SURROGATES, shuffles=0)
    head, _, *lines = capsys.readouterr().out.strip().splitlines()
    names = [line.split("|")[1].strip() for line in lines]
    assert names == list(SURROGATES)
    assert {line.count("|") for line in lines} == {head.count("|")}
    average = dict(zip(names, lines, strict=True))["average"]
    assert "+0.00" in average  # its lead over itself


def test_a_size_can_be_hidden(few: World, capsys: pytest.CaptureFixture[str]) -> None:
    compare_surrogates.compare_transfer(few)
    shown = capsys.readouterr().out
    assert shown.count("about 128 rows") == 3
    assert shown.count("about 512 rows") == 3
