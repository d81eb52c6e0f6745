from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from metaft.errors import PriorError
from metaft.prior.space import without_seed
from metaft.prior.table import TraceTable, tabulate
from metaft.recipes import PLAIN
from metaft.traces.trace import Trace


def test_one_run_fills_the_cells_of_every_budget(make_world) -> None:
    world = make_world(3, recipes=4, epochs=3)
    table = tabulate(world.traces)
    assert len(table.blocks) == 3
    assert len(table.space) == 4 * 3
    assert np.isfinite(table.test).all()


def test_plain_is_the_third_epoch_of_a_longer_run(make_world) -> None:
    world = make_world(2, recipes=4, epochs=6)
    table = tabulate(world.traces)
    first = next(t for t in world.traces if t.recipe == PLAIN.extended(6))
    best = max(first.curve[:3], key=lambda record: record.validation["accuracy"])
    plain = table.space.plain
    assert table.space.cells[plain] == PLAIN
    assert table.test[0, plain] == pytest.approx(100 * best.test["accuracy"])


def test_validation_picks_the_epoch(make_world) -> None:
    trace = _with_validation(make_world(1, recipes=4).traces, [0.5, 0.9, 0.7])
    table = tabulate([trace, *make_world(1, recipes=4).traces[1:]])
    column = table.space.cells.index(PLAIN)
    assert table.test[0, column] == pytest.approx(100 * trace.curve[1].test["accuracy"])


def _with_validation(traces: list[Trace], scores: list[float]) -> Trace:
    first = traces[0]
    curve = tuple(
        dataclasses.replace(record, validation={"accuracy": score})
        for record, score in zip(first.curve, scores, strict=True)
    )
    return dataclasses.replace(first, curve=curve)


def test_a_run_that_never_finished_an_epoch_scores_as_the_worst(make_world) -> None:
    world = make_world(2, recipes=8)
    table = tabulate(world.traces)
    row = table.failed[0] == 1
    assert row.any()
    assert (table.test[0][row] == table.test[0].min()).all()
    assert np.isnan(table.train_seconds[0][row]).all()


def test_a_run_that_diverged_late_is_sound_at_smaller_budgets(make_world) -> None:
    traces = make_world(1, recipes=4).traces
    late = dataclasses.replace(traces[0], status="diverged", curve=traces[0].curve[:2])
    table = tabulate([late, *traces[1:]])
    family = table.space.families == table.space.families[table.space.plain]
    by_epoch = dict(zip(table.space.epochs[family], table.failed[0, family], strict=True))
    assert by_epoch == {1: 0.0, 2: 0.0, 3: 1.0}


def test_seeds_are_averaged(make_world) -> None:
    traces = make_world(1, recipes=4).traces
    again = [
        dataclasses.replace(
            trace,
            seed=1,
            recipe=dataclasses.replace(trace.recipe, seed=1),
            curve=tuple(
                dataclasses.replace(r, test={"accuracy": r.test["accuracy"] + 0.02})
                for r in trace.curve
            ),
        )
        for trace in traces
    ]
    one, both = tabulate(traces), tabulate([*traces, *again])
    assert both.space.cells == one.space.cells
    np.testing.assert_allclose(both.test, one.test + 1.0)


def test_a_shared_core_does_not_look_like_work(make_world) -> None:
    alone = [_on_a_core_of_its_own(trace) for trace in make_world(1, recipes=4).traces]
    crowded = [_twice_as_long(trace) for trace in alone]
    for seconds in ("train_seconds", "run_seconds"):
        np.testing.assert_allclose(
            getattr(tabulate(crowded), seconds), getattr(tabulate(alone), seconds)
        )


def test_steps_are_priced_on_the_machine_of_most_runs(make_world) -> None:
    ours, *others = make_world(3, recipes=4).traces
    environment = dataclasses.replace(ours.environment, cpu_model="another")
    elsewhere = [
        dataclasses.replace(ours, environment=environment),
        dataclasses.replace(ours, precision="bf16"),
    ]
    for trace in elsewhere:
        table = tabulate([trace, *others])
        of_that_run = np.array([r.learning_rate for r in table.space.cells])
        same = of_that_run == ours.recipe.learning_rate
        first, rest = table.train_seconds[0], table.train_seconds[1:]
        assert np.isnan(first[same]).all()
        assert np.isfinite(first[~same]).all()
        assert np.isfinite(rest).all()
        assert np.isfinite(table.run_seconds).all()  # compared within the block alone


def test_what_a_process_held_before_is_not_the_run_s_memory(make_world) -> None:
    first, grown, *others = make_world(1, recipes=3).traces  # three rates
    measured = [_with_memory(first, 700.0, 400.0), _with_memory(grown, 1800.0, 1600.0)]
    table = tabulate([*measured, *others])
    found = {trace.recipe.learning_rate: _memory_of(table, trace) for trace in [*measured, *others]}
    assert found[first.recipe.learning_rate] == 700.0
    assert found[grown.recipe.learning_rate] == 600.0  # 200 of its own, where 400 are the least
    assert np.isnan([found[trace.recipe.learning_rate] for trace in others]).all()


def _with_memory(trace: Trace, peak: float, before: float) -> Trace:
    costs = dataclasses.replace(trace.costs, peak_memory_mib=peak, memory_before_mib=before)
    return dataclasses.replace(trace, costs=costs)


def _memory_of(table: TraceTable, trace: Trace) -> float:
    cells = table.space.cells
    at = next(i for i, c in enumerate(cells) if c.learning_rate == trace.recipe.learning_rate)
    return float(table.peak_memory_mib[0, at])


def test_a_machine_that_slept_was_not_crowded(make_world) -> None:
    alone = [_on_a_core_of_its_own(trace) for trace in make_world(1, recipes=4).traces]
    slept = [
        dataclasses.replace(trace, costs=dataclasses.replace(trace.costs, wall_seconds=1e4))
        for trace in alone
    ]
    np.testing.assert_allclose(tabulate(slept).train_seconds, tabulate(alone).train_seconds)


def test_a_run_takes_what_a_user_would_wait_for(make_world) -> None:
    (trace, other) = make_world(1, recipes=2, epochs=2).traces[:2]
    curve = tuple(
        dataclasses.replace(record, train_seconds=3.0, evaluation_seconds=14.0)
        for record in trace.curve
    )
    costs = dataclasses.replace(trace.costs, cpu_seconds=34.0)
    timed = dataclasses.replace(trace, curve=curve, costs=costs, prefix_seconds=1912.0)
    table = tabulate([timed, other])
    column = table.space.cells.index(without_seed(trace.recipe))
    scoring = 2 * 14.0 * 400 / 1400  # the validation rows' share of both epochs
    prefix = 1912.0 * (512 + 400) / (512 + 1400)
    assert table.run_seconds[0, column] == pytest.approx(6.0 + scoring + prefix)


def _on_a_core_of_its_own(trace: Trace) -> Trace:
    busy = sum(record.train_seconds + record.evaluation_seconds for record in trace.curve)
    return dataclasses.replace(trace, costs=dataclasses.replace(trace.costs, cpu_seconds=busy))


def _twice_as_long(trace: Trace) -> Trace:
    curve = tuple(
        dataclasses.replace(
            record,
            train_seconds=2 * record.train_seconds,
            evaluation_seconds=2 * record.evaluation_seconds,
        )
        for record in trace.curve
    )
    prefix_seconds = 2 * (trace.prefix_seconds or 0.0)
    return dataclasses.replace(trace, curve=curve, prefix_seconds=prefix_seconds)


def test_blocks_that_lack_recipes_are_left_out(make_world) -> None:
    traces = make_world(5, recipes=4).traces
    all_but_one = [t for t in traces if t.task != "task01" or t.recipe.learning_rate != 1e-4]
    killed = [t for t in all_but_one if t.task != "task02" or t.recipe == PLAIN]
    table = tabulate(killed)
    assert [block.task for block in table.left_out] == ["task01", "task02"]
    assert table.tasks == ("task00", "task03", "task04")


def test_what_was_kept_is_kept_again(make_world) -> None:
    """A recipe of the minority is usual once the blocks without it are gone, so that is redone."""
    traces = make_world(10, recipes=6).traces
    recipes = list(dict.fromkeys(without_seed(trace.recipe) for trace in traces))
    has = {0: {0, 1, 2}, 1: {0, 1}, 2: {0, 3}}
    kind = {f"task{at:02d}": has[0 if at < 4 else 1 if at < 6 else 2] for at in range(10)}
    partial = [t for t in traces if recipes.index(without_seed(t.recipe)) in kind[t.task]]
    table = tabulate(partial)
    kept = [trace for trace in partial if trace.task in table.tasks]
    assert table.tasks == tabulate(kept).tasks
    assert 0 < len(table.tasks) < 10


def test_an_undefined_correlation_counts_as_none(make_world) -> None:
    traces = make_world(1, recipes=4).traces
    constant = dataclasses.replace(
        traces[0],
        curve=tuple(
            dataclasses.replace(r, validation={"accuracy": math.nan}, test={"accuracy": math.nan})
            for r in traces[0].curve
        ),
    )
    table = tabulate([constant, *traces[1:]])
    assert table.test[0, table.space.plain] == 0.0


def test_too_few_traces(make_world) -> None:
    with pytest.raises(PriorError, match="too few to learn from"):
        tabulate(make_world(3, recipes=1).traces)


def test_a_budget_in_a_gap_of_the_curve_is_unknown(make_world) -> None:
    traces = make_world(1, recipes=4, epochs=3).traces
    gap = dataclasses.replace(traces[0], curve=traces[0].curve[2:], best_epoch=3)
    table = tabulate([gap, *traces[1:]])
    cells = [gap.recipe.truncated(epochs) for epochs in (1, 2, 3)]
    columns = [table.space.cells.index(cell) for cell in cells]
    assert np.isfinite(table.test[0, columns]).tolist() == [False, False, True]
    assert table.failed[0, columns[2]] == 0


def test_without_halves_both_are_all_test_rows(make_world) -> None:
    traces = make_world(1, recipes=4).traces
    curve = tuple(dataclasses.replace(record, test_halves=()) for record in traces[0].curve)
    table = tabulate([dataclasses.replace(traces[0], curve=curve), *traces[1:]])
    column = table.space.cells.index(PLAIN)
    halves = (table.half_a[0, column], table.half_b[0, column])
    assert halves == (table.test[0, column],) * 2


def test_a_sort_with_fewer_recipes_is_no_gap(make_world) -> None:
    world = make_world(6, recipes=8).tagged(2, recipes=4)
    table = tabulate(world.traces)
    assert table.left_out == ()
    assert [block.sort for block in table.blocks] == ["tags"] * 2 + ["classes"] * 4
    assert np.isfinite(table.test).all(1).tolist() == [False] * 2 + [True] * 4
