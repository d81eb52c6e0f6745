"""Trace: what one fine-tuning run did, and the key under which it is kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from metaft.finetuning.outcome import Costs, EpochRecord, Outcome, Scores, Status
from metaft.recipes import Recipe
from metaft.tasks.task import Kind, Metric
from metaft.traces.environment import Environment

TRACE_SCHEMA = 1
"""Counts up when a recorded number changes its meaning; every run is then recorded anew."""

VALIDATION_ROWS = 400
"""Rows that pick the epoch and the recipe, at most."""

TEST_ROWS = 1000
"""Rows that are reported on, at most: a standard error of 1.5 points."""

# A Recipe field that is added later enters the key only where it is not at its default, so
# that the runs recorded before keep their keys.
FIRST_FIELDS = (
    "learning_rate",
    "frozen_fraction",
    "epochs",
    "batch_size",
    "schedule",
    "warmup_fraction",
    "weight_decay",
    "head_init",
    "dropout",
    "max_gradient_norm",
    "max_length",
    "image_size",
    "precision",
    "early_stopping_patience",
    "seed",
)


class Supervised(Protocol):
    """What a Trace says of its task: a Task knows it, and so does the plan."""

    @property
    def kind(self) -> Kind: ...

    @property
    def metric(self) -> Metric: ...


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that is to be recorded.

    Attributes:
        task: Name of the task, as `load_task` takes it.
        backbone: Identity of the backbone, as `load_backbone` takes it.
        recipe: What to run; its seed becomes `seed`.
        train_rows: Training rows wanted, >= 1; a smaller task gives all it has.
        seed: Seed of the run and of the choice of rows, in [0, 2**31).
    """

    task: str
    backbone: str
    recipe: Recipe
    train_rows: int
    seed: int

    def __post_init__(self) -> None:
        if self.recipe.seed != self.seed:
            object.__setattr__(self, "recipe", dataclasses.replace(self.recipe, seed=self.seed))


@dataclass(frozen=True, slots=True)
class Trace:
    """What one run did.

    Attributes:
        trace_id: Key of the run, see `trace_id_of`.
        schema: The `TRACE_SCHEMA` it was recorded under.
        task: Name of the task.
        task_fingerprint: Of the whole task as it was loaded, before any sub-sampling.
        kind: What is predicted from what.
        metric: The primary metric of the task.
        backbone: Identity of the backbone.
        backbone_fingerprint: Over its architecture and pretrained weights.
        recipe: What was run.
        train_rows: Training rows that were used.
        seed: Seed of the run and of the choice of rows.
        status: `ok`, or how the run ended early.
        reason: Why, where it is not `ok`.
        curve: One record per finished epoch, with test scores; of a run that metaft did not
            make, one per epoch after which its scores are known.
        best_epoch: Epoch of the best validation score; 0 where no epoch finished.
        validation: Metric -> score after the best epoch; empty where there is none.
        test: Metric -> score after the best epoch; empty where there is none.
        costs: Time and memory.
        epochs_to_95_percent: First epoch that reaches 95 % of the best validation score.
        precision: The arithmetic that the recipe's `auto` resolved to.
        device: `cpu` or `cuda`.
        environment: Versions and hardware.
        created_at: When the run ended, ISO 8601 in UTC.
        overhead_seconds: Wall time around the run that recording added: loading the task and
            the backbone, storing. What a group of runs shares stands at its first.
        prefix_seconds: Wall time of encoding the rows and of the frozen blocks' one forward
            pass. It is spent once for all runs of a group and stands at each of them, since
            each would need it alone: a run by itself takes this and `costs.wall_seconds`. Of
            a pass that went deeper for other runs, it is the share of the blocks needed.
            None where it was not measured apart.
    """

    trace_id: str
    schema: int
    task: str
    task_fingerprint: str
    kind: Kind
    metric: Metric
    backbone: str
    backbone_fingerprint: str
    recipe: Recipe
    train_rows: int
    seed: int
    status: Status
    reason: str
    curve: tuple[EpochRecord, ...]
    best_epoch: int
    validation: Scores
    test: Scores
    costs: Costs
    epochs_to_95_percent: int
    precision: str
    device: str
    environment: Environment
    created_at: str
    overhead_seconds: float = 0.0
    prefix_seconds: float | None = None

    def to_json(self) -> str:
        """Return the trace as one line of strict JSON; NaN and infinities become texts."""
        values = {**_shallow(self), "recipe": self.recipe.to_mapping()}
        values["curve"] = [_shallow(record) for record in self.curve]
        values["costs"] = _shallow(self.costs)
        values["environment"] = _shallow(self.environment)
        return json.dumps(_without_non_finite(values), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Trace:
        """Read what `to_json` wrote, exactly.

        Raises:
            ValueError: If the text is no trace.
        """
        try:
            values = json.loads(text)
            values["recipe"] = Recipe.from_mapping(values["recipe"])
            values["curve"] = tuple(_record_from(record) for record in values["curve"])
            values["costs"] = Costs(**_with_floats(values["costs"]))
            values["environment"] = Environment(**values["environment"])
            values["validation"] = _with_floats(values["validation"])
            values["test"] = _with_floats(values["test"])
            return cls(**values)
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a trace: {error}") from error


def trace_id_of(
    task_fingerprint: str,
    backbone_fingerprint: str,
    recipe: Recipe,
    train_rows: int,
    seed: int,
) -> str:
    """Return the key of a run: equal for equal runs, on every machine and in every process.

    Args:
        task_fingerprint: Of the whole task as loaded.
        backbone_fingerprint: Of the backbone as loaded.
        recipe: What is run.
        train_rows: Training rows that are used.
        seed: Seed of the run and of the choice of rows.

    Returns:
        32 hexadecimal digits.
    """
    defaults = Recipe().to_mapping()
    fields = {
        name: value
        for name, value in recipe.to_mapping().items()
        if name in FIRST_FIELDS or value != defaults[name]
    }
    facts = [
        TRACE_SCHEMA,
        task_fingerprint,
        backbone_fingerprint,
        fields,
        train_rows,
        seed,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def trace_of(
    outcome: Outcome,
    *,
    run: PlannedRun,
    task: Supervised,
    task_fingerprint: str,
    backbone_fingerprint: str,
    environment: Environment,
    created_at: str,
    overhead_seconds: float,
    prefix_seconds: float | None,
) -> Trace:
    """Put together the Trace of a run that has ended.

    Args:
        outcome: What the run did.
        run: What was run, `train_rows` being the rows that were used.
        task: What is predicted, and by what it is judged; its rows may be a sample.
        task_fingerprint: Of the whole task as loaded.
        backbone_fingerprint: Of the backbone as loaded.
        environment: Where it ran.
        created_at: When it ended, ISO 8601 in UTC.
        overhead_seconds: Wall time that recording added.
        prefix_seconds: Wall time of encoding and of the frozen prefix, whoever spent it.
    """
    ids = (task_fingerprint, backbone_fingerprint, run.recipe, run.train_rows, run.seed)
    return Trace(
        trace_id=trace_id_of(*ids),
        schema=TRACE_SCHEMA,
        task=run.task,
        task_fingerprint=task_fingerprint,
        kind=task.kind,
        metric=task.metric,
        backbone=run.backbone,
        backbone_fingerprint=backbone_fingerprint,
        recipe=run.recipe,
        train_rows=run.train_rows,
        seed=run.seed,
        environment=environment,
        created_at=created_at,
        overhead_seconds=overhead_seconds,
        prefix_seconds=prefix_seconds,
        **_shallow(outcome),
    )


def _shallow(record: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as they are (`asdict` copies, and is slow)."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def _without_non_finite(value: Any) -> Any:
    """Replace NaN and infinities by the texts that `float` reads back."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _without_non_finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_non_finite(item) for item in value]
    return value


def _with_floats(values: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `_without_non_finite` in a mapping that holds numbers only."""
    return {
        name: float(value) if isinstance(value, str) else value for name, value in values.items()
    }


def _record_from(values: Mapping[str, Any]) -> EpochRecord:
    numbers = {name: value for name, value in values.items() if not isinstance(value, dict | list)}
    halves = tuple(float(score) for score in values["test_halves"])
    return EpochRecord(
        **_with_floats(numbers),
        validation=_with_floats(values["validation"]),
        test=_with_floats(values["test"]),
        test_halves=halves,
    )
