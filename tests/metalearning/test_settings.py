"""MetaSettings: every wrong value is refused by name, and plain values come back the same."""

from __future__ import annotations

import json

import pytest

from metaft.errors import RecipeError, UserError
from metaft.metalearning.settings import MetaSettings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("algorithm", "proto"),
        ("precision", "fp16"),
        ("inner_rate", 0.0),
        ("inner_rate", float("nan")),
        ("outer_rate", 2),
        ("inner_steps", 0),
        ("inner_steps", 2.0),
        ("meta_batch_size", True),
        ("steps", "10"),
        ("episodes", 0),
        ("head_init", "random"),
        ("checkpointing", True),
        ("ways", (1,)),
        ("shots", ()),
        ("query_shots", 0),
        ("frozen_fraction", 1.0),
        ("seed", -1),
    ],
)
def test_a_value_out_of_range_is_refused_with_what_is_allowed(field, value):
    with pytest.raises(UserError, match=f"{field} is .*; allowed (is|are) .* Set {field}"):
        MetaSettings(**{field: value})


def test_settings_survive_json():
    settings = MetaSettings(algorithm="meta-sgd", outer_rate=1e-3, ways=(2,), shots=(1, 5))
    assert MetaSettings.from_mapping(json.loads(json.dumps(settings.to_mapping()))) == settings


def test_an_unknown_setting_is_refused():
    with pytest.raises(RecipeError, match=r"'inner_lr' is no setting .* inner_rate"):
        MetaSettings.from_mapping({"inner_lr": 1e-3})


@pytest.mark.parametrize(
    ("algorithm", "inner", "outer", "second"),
    [("reptile", 1e-2, 1.0, False), ("fomaml", 1e-3, 1e-4, False), ("maml", 1e-3, 1e-4, True)],
)
def test_what_an_algorithm_settles(algorithm, inner, outer, second):
    settings = MetaSettings(algorithm=algorithm)
    assert settings.effective_inner_rate == inner
    assert settings.effective_outer_rate == outer
    assert settings.is_second_order is second


@pytest.mark.parametrize("algorithm", ["reptile", "fomaml"])
def test_a_rate_that_is_set_counts(algorithm):
    settings = MetaSettings(algorithm=algorithm, inner_rate=0.25, outer_rate=0.5)
    assert (settings.effective_inner_rate, settings.effective_outer_rate) == (0.25, 0.5)


def test_texts_are_read_as_the_fields_take_them():
    texts = {"inner_rate": "1e-2", "episodes": "none", "ways": "2,5", "algorithm": "anil"}
    settings = MetaSettings(steps=7).with_settings(texts)
    assert settings == MetaSettings(
        algorithm="anil", inner_rate=0.01, episodes=None, ways=(2, 5), steps=7
    )


@pytest.mark.parametrize(
    ("field", "text"), [("steps", "ten"), ("steps", "1.5"), ("inner_rate", "fast"), ("ways", "2;3")]
)
def test_a_text_that_cannot_be_read_is_refused_by_name(field, text):
    with pytest.raises(UserError, match=f"{field} is .*; allowed (is|are) "):
        MetaSettings().with_settings({field: text})
