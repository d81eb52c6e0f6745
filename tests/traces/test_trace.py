"""Traces: their text form, and their keys."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metaft.finetuning.outcome import EpochRecord
from metaft.recipes import Recipe, design
from metaft.traces import trace as trace_module
from metaft.traces.trace import PlannedRun, Trace, trace_id_of

if TYPE_CHECKING:
    from tests.traces.conftest import TraceFactory

_ANY_FLOAT = st.floats()  # with NaN and both infinities
_RECORDS = st.builds(
    EpochRecord,
    epoch=st.integers(1, 1000),
    train_loss=_ANY_FLOAT,
    validation=st.fixed_dictionaries({"accuracy": _ANY_FLOAT, "loss": _ANY_FLOAT}),
    test=st.one_of(st.just({}), st.fixed_dictionaries({"accuracy": _ANY_FLOAT})),
    test_halves=st.one_of(st.just(()), st.tuples(_ANY_FLOAT, _ANY_FLOAT)),
    train_seconds=_ANY_FLOAT,
    evaluation_seconds=_ANY_FLOAT,
)


def test_text_form_gives_the_same_trace_back(make_trace: TraceFactory) -> None:
    trace = make_trace()
    assert Trace.from_json(trace.to_json()) == trace


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(curve=st.lists(_RECORDS, max_size=3), loss=_ANY_FLOAT)
def test_text_form_keeps_every_float(
    make_trace: TraceFactory, curve: list[EpochRecord], loss: float
) -> None:
    trace = make_trace(curve=tuple(curve), validation={"loss": loss})
    # NaN is not equal to itself, but its repr is.
    assert repr(Trace.from_json(trace.to_json())) == repr(trace)


def test_text_form_is_strict_json(make_trace: TraceFactory) -> None:
    text = make_trace(validation={"loss": math.inf, "accuracy": math.nan}).to_json()

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is no JSON")

    assert json.loads(text, parse_constant=refuse)["validation"] == {
        "loss": "inf",
        "accuracy": "nan",
    }


def test_trace_without_later_fields_is_read(make_trace: TraceFactory) -> None:
    values = json.loads(make_trace().to_json())
    del values["prefix_seconds"]
    assert Trace.from_json(json.dumps(values)).prefix_seconds is None


def test_text_that_is_no_trace_is_refused() -> None:
    with pytest.raises(ValueError, match="not a trace"):
        Trace.from_json('{"trace_id": "0"}')


def test_key_is_fixed() -> None:
    """A key that changes makes every recording worthless: bump TRACE_SCHEMA instead."""
    assert trace_id_of("task", "backbone", Recipe(), 512, 0) == "2f6f03bd71de097644a0486e7674fa37"


def test_key_is_the_same_in_another_process() -> None:
    code = (
        "from metaft.recipes import Recipe; from metaft.traces.trace import trace_id_of; "
        "print(trace_id_of('task', 'backbone', Recipe(learning_rate=1e-4), 512, 0))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == trace_id_of(
        "task", "backbone", Recipe(learning_rate=1e-4), 512, 0
    )


def test_key_tells_every_fact_apart() -> None:
    base = ("task", "backbone", Recipe(), 512, 0)
    others = [
        ("other", "backbone", Recipe(), 512, 0),
        ("task", "other", Recipe(), 512, 0),
        ("task", "backbone", Recipe(weight_decay=0.1), 512, 0),
        ("task", "backbone", Recipe(early_stopping_patience=2), 512, 0),
        ("task", "backbone", Recipe(), 513, 0),
        ("task", "backbone", Recipe(), 512, 1),
        *(("task", "backbone", recipe, 512, 0) for recipe in design(16, 6)),
    ]
    keys = {trace_id_of(*facts) for facts in [base, *others]}
    assert len(keys) == 1 + len(others)


def test_a_later_recipe_field_changes_no_key_at_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = trace_id_of("task", "backbone", Recipe(), 512, 0)
    earlier = tuple(name for name in trace_module.FIRST_FIELDS if name != "dropout")
    monkeypatch.setattr(trace_module, "FIRST_FIELDS", earlier)
    at_default = trace_id_of("task", "backbone", Recipe(learning_rate=1e-3), 512, 0)
    other = trace_id_of("task", "backbone", Recipe(learning_rate=1e-3, dropout=0.2), 512, 0)
    assert before != at_default != other


def test_planned_run_carries_its_seed_in_its_recipe() -> None:
    run = PlannedRun("task", "backbone", Recipe(seed=3), 512, seed=1)
    assert run.recipe.seed == 1


def test_every_recipe_field_of_the_first_schema_is_in_the_key() -> None:
    fields = {field.name for field in dataclasses.fields(Recipe)}
    assert set(trace_module.FIRST_FIELDS) <= fields
