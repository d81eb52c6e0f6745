from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from metaft.prior import validate as validation
from metaft.prior.described import describe_blocks
from metaft.prior.judging import Judged
from metaft.prior.rivals import METHODS, OWN
from metaft.prior.table import tabulate
from metaft.prior.validate import count_validation_fits, shuffle_features, validate


@pytest.fixture(scope="module")
def judged(make_world):
    world = make_world(5, recipes=8, epochs=3)
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    fits = []
    figures, left_out = validate(table, rows, world.relatives, on_fit=lambda: fits.append(1))
    assert len(fits) == count_validation_fits(table, world.relatives)
    return table, figures, left_out


def test_every_rival_is_judged(judged) -> None:
    _, figures, left_out = judged
    assert figures["tasks"] == figures["blocks"] == len(left_out) == 5
    assert {"learned", "plain", "best-average", "1-nn", "random-4"} <= set(figures["methods"])
    rivals = set(METHODS) - set(OWN)
    expected = {f"learned - {rival}" for rival in rivals} | {"learned-cost - plain"}
    assert set(figures["comparisons"]) == expected
    assert {"learned-race - learned", "learned-race - tpe-8"} <= set(figures["race"])
    assert set(figures["ranks"]["mean_ranks"]) == set(figures["methods"]) == set(METHODS)
    assert {goal["scope"] for goal in figures["goals"]} == {"all", "bert, 512 rows"}
    assert figures["methods"]["plain"]["relative_seconds"] == pytest.approx(1.0)
    assert len(figures["control"]["learned_gain_points"]) == validation.CONTROLS


def test_sizes_with_enough_tasks_are_judged_apart(telling) -> None:
    table = telling.table
    few = [*range(12), *range(16, 20)]  # 16 tasks, four of which are of another size
    blocks = [
        dataclasses.replace(table.blocks[at], train_rows=512 if at < 12 else 130) for at in few
    ]
    moved = dataclasses.replace(table.take(few), blocks=tuple(blocks))
    figures = {
        name: {"points": np.arange(16.0) * (at + 1), "normalised_regret": np.ones(16)}
        for at, name in enumerate(("plain", "best-average", "learned"))
    }
    judged = Judged(tuple(block.task for block in blocks), figures)
    left_out = [dataclasses.replace(telling.left_out[0], row=at) for at in range(16)]
    (only,) = validation._judge_slices(moved, validation._slice(moved, left_out, judged))
    assert (only["slice"], only["train_rows"], only["tasks"]) == ("bert, 512 rows", 512, 12)
    assert only["methods"]["plain"]["points"] == pytest.approx(np.arange(12).mean())
    assert only["learned - average"]["rival"] == "best-average"
    assert only["learned - average"]["points"]["mean"] == pytest.approx(np.arange(12).mean())


def test_shuffling_keeps_rows_and_backbone(make_world) -> None:
    world = make_world(6, recipes=4, sizes=(128, 512))
    shuffled = shuffle_features(world.described, seed=1)
    assert [row.block for row in shuffled] == [row.block for row in world.described]
    for row in shuffled:
        assert row.values["log2_train_rows"] == math.log2(row.train_rows)
    moved = [a.values is not b.values for a, b in zip(shuffled, world.described, strict=True)]
    assert any(moved)


def test_a_single_task_cannot_be_judged(make_world) -> None:
    world = make_world(1, recipes=4)
    table = tabulate(world.traces)
    figures, left_out = validate(table, world.described, world.relatives)
    assert left_out == []
    assert figures["methods"] == {}
    assert figures["comparisons"] == {}


def test_costs_of_left_out_tasks_are_predicted(judged) -> None:
    _, figures, _ = judged
    assert figures["training_seconds"]["median_relative_error"] < 0.1
    assert figures["peak_memory_mib"]["median_relative_error"] < 0.1


def test_intervals_cover_left_out_tasks(telling) -> None:
    figures = validation._check_intervals(telling.table, telling.left_out)
    assert 0.8 <= figures["coverage"] <= 1.0
    assert figures["mean_absolute_error"] < figures["mean_half_width"] < 10.0


def test_shuffled_features_gain_nothing_where_the_features_tell(
    make_world, telling, silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(20, recipes=8, epochs=2, seed=4)  # That of `telling`, and of `silent`.
    rows = describe_blocks(telling.table.blocks, world.described)
    asked = []

    def control_of(seen) -> dict:
        def look(table, shuffled, relatives, on_fit):
            asked.append([row.values for row in shuffled])
            return seen.left_out

        monkeypatch.setattr(validation, "leave_each_out", look)
        return validation._control(telling.table, rows, world.relatives, None)

    monkeypatch.setattr(validation, "CONTROLS", 2)
    told, shuffled = control_of(telling), control_of(silent)
    assert len(told["learned_gain_points"]) == 2
    assert min(told["learned_gain_points"]) > 1.0
    assert told["learned_gain_p"] < 0.01
    assert max(map(abs, shuffled["learned_gain_points"])) < 0.5
    assert max(shuffled["surrogate_gain_points"]) < 0.5
    assert min(shuffled["learned_gain_p"], shuffled["surrogate_gain_p"]) > 0.05
    assert asked[0] != asked[1] != [row.values for row in rows], "shuffled anew each time"


def test_sorts_are_judged_apart(make_world) -> None:
    """The figures over all blocks are those of the classes; tags stand beside them."""
    world = make_world(12, recipes=6).tagged(5, recipes=3)
    table = tabulate(world.traces)
    rows = describe_blocks(table.blocks, world.described)
    figures, left_out = validate(table, rows, world.relatives)
    assert len(left_out) == 12
    assert (figures["sort"], figures["tasks"]) == ("classes", 7)
    slices = {part["slice"]: part for part in figures["slices"]}
    assert {name: part["tasks"] for name, part in slices.items()} == {
        "bert, 512 rows": 7,
        "bert, 512 rows, tags": 5,
    }
    runs = {name: part["methods"]["random-8"]["runs"] for name, part in slices.items()}
    assert runs == {"bert, 512 rows": 6, "bert, 512 rows, tags": 3}
    assert figures["methods"] == slices["bert, 512 rows"]["methods"]
    assert {part["asked"]: part["tasks"] for part in figures["transfer"]["hidden"]} == {
        "classes": 7,
        "tags": 5,
    }
    assert math.isnan(figures["transfer"]["relative_width"])
    shuffled = shuffle_features(rows, seed=0)
    for row, other in zip(rows, shuffled, strict=True):
        (source,) = (one for one in rows if one.values is other.values)
        assert source.kind == row.kind
