"""OutsideMapping: which columns of somebody else's table of runs say what a Trace says.

Every entry is a constant, or `{column: NAME}` with a conversion: `times` and `divided_by`
(numbers or columns), or `values` (theirs: ours). A dot in a name goes into a nested record.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metaft.errors import MappingError
from metaft.recipes import FIELDS
from metaft.traces.rows import Row

CONSEQUENTIAL = ("learning_rate", "epochs", "batch_size", "schedule", "warmup_fraction")
"""Fields of a recipe that must be named: a default in their place would be a guess."""

_REQUIRED = ("source", "task", "kind", "metric", "train_rows", "recipe", "scores")
_OPTIONAL = ("backbone", "seed", "status", "wall_seconds", "peak_memory_mib")
_SCORE_FORMS = ("column", "columns", "curve")
_LAST_PART_OF_AN_EPOCH = 0.25  # in which a score must lie to count as the one after it
_ROUNDING = 1e-6
_CURES = {
    "source": "Say where the table is from, and its licence",
    "recipe": "Add it: `field: value`, one per line",
    "scores": "Add it, with `test` and maybe `validation` in it",
    "test": "Name the score that nothing was chosen by; of runs with one score, that one",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A cell of each row, converted.

    Attributes:
        column: Its name.
        times, divided_by: Factors, or columns that hold them.
        values: Text of the cell -> what it stands for; empty to take the cell itself.
    """

    column: str
    times: float | str = 1
    divided_by: float | str = 1
    values: Mapping[str, Any] = field(default_factory=dict)

    def read(self, row: Row) -> Any:
        """Return the converted cell.

        Raises:
            MappingError: If there is no such column, or its cell cannot be converted.
        """
        if self.values:
            return self._translate(row)
        if self.times == 1 and self.divided_by == 1:
            return row.cell(self.column)
        return self.convert(row, row.number(self.column))

    def convert(self, row: Row, number: float) -> float:
        """Apply the factors."""
        divisor = row.number(self.divided_by)
        if divisor == 0:
            raise row.problem(f"{self.column} is to be divided by {self.divided_by}, which is 0")
        return number * row.number(self.times) / divisor

    def _translate(self, row: Row) -> Any:
        cell = str(row.cell(self.column))
        if cell not in self.values:
            raise row.problem(
                f"{self.column} is {cell!r}; the mapping has values for {', '.join(self.values)}",
                "Add it to `values`",
            )
        return self.values[cell]


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """The scores of each run on one split, in one of three forms.

    Attributes:
        column: One number, after the last epoch; a name, or empty.
        columns: One number per epoch; names, or empty.
        curve: A list of `[position, score]`, or of one score per epoch; a name, or empty.
        end: Position at the end of the run, a number or a column; None where positions are
            epochs.
        times, divided_by: As in `Column`, for each score.
    """

    column: str = ""
    columns: tuple[str, ...] = ()
    curve: str = ""
    end: float | str | None = None
    times: float | str = 1
    divided_by: float | str = 1

    def read(self, row: Row, epochs: int) -> dict[int, float]:
        """Return epoch -> score after it, for the epochs whose score is known.

        Of a curve by steps, that is the last score within the last quarter of the epoch.

        Raises:
            MappingError: If a cell is no score, or lies beyond the recipe's epochs.
        """
        found = self._read(row, epochs)
        beyond = [epoch for epoch in found if not 1 <= epoch <= epochs]
        if beyond:
            raise row.problem(
                f"there is a score after epoch {beyond[0]}, but the recipe has {epochs} epochs",
                "Correct `epochs`, or the `end` of the curve",
            )
        factors = Column(self.column or self.curve, self.times, self.divided_by)
        return {epoch: factors.convert(row, score) for epoch, score in found.items()}

    def _read(self, row: Row, epochs: int) -> dict[int, float]:
        if self.curve:
            return self._read_curve(row, epochs)
        names = {epochs: self.column} if self.column else dict(enumerate(self.columns, start=1))
        return {at: row.number(name) for at, name in names.items() if row.is_known(name)}

    def _read_curve(self, row: Row, epochs: int) -> dict[int, float]:
        items = row.items(self.curve)
        if items and not isinstance(items[0], list):
            known = dict(enumerate(items, start=1))
            return {at: row.as_number(self.curve, s) for at, s in known.items() if s is not None}
        if not items:
            return {}
        end = epochs if self.end is None else row.number(self.end)
        if not end > 0:
            raise row.problem(
                f"{self.end} is {end:g}, and the curve has scores; allowed is more than 0",
                "Correct it, or leave the scores out",
            )
        scale = epochs / end
        found = {}
        for position, score in (row.as_pair(self.curve, item) for item in items):
            epoch = round(-(-(position * scale - _ROUNDING) // 1))
            if position * scale >= epoch - _LAST_PART_OF_AN_EPOCH:
                found[epoch] = score
        return found


@dataclass(frozen=True, slots=True)
class OutsideMapping:
    """What the columns of a table of runs mean.

    Attributes:
        source: Where the table is from, with its licence; part of every key.
        facts: Field of a Trace -> how to read it: `task`, `kind`, `metric`, `train_rows`, and
            maybe `backbone`, `seed`, `status`, `wall_seconds`, `peak_memory_mib`.
        recipe: Field of a Recipe -> how to read it.
        test: Scores that nothing was chosen by.
        validation: Scores that the epoch is chosen by; None where there is one score per run.
    """

    source: str
    facts: Mapping[str, Any]
    recipe: Mapping[str, Any]
    test: ScoreColumns
    validation: ScoreColumns | None = None

    @classmethod
    def load(cls, path: Path) -> OutsideMapping:
        """Read a mapping from YAML.

        Raises:
            MappingError: If it cannot be read, lacks an entry or has an unknown one.
        """
        import yaml

        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise MappingError(
                f"the mapping {path} cannot be read: {error}",
                "Give a YAML file such as the one in docs/outside.md",
            ) from error
        return cls.from_mapping(values, name=str(path))

    @classmethod
    def from_mapping(cls, values: Any, *, name: str = "mapping") -> OutsideMapping:
        """Build it from plain values.

        Args:
            values: As YAML gives them.
            name: What messages call it.

        Raises:
            MappingError: If it lacks an entry or has an unknown one.
        """
        values = _entries(name, values, (*_REQUIRED, *_OPTIONAL), _REQUIRED)
        recipe = _entries(f"{name}: recipe", values["recipe"], FIELDS, CONSEQUENTIAL)
        scores = _entries(f"{name}: scores", values["scores"], ("test", "validation"), ("test",))
        facts = {key: values[key] for key in (*_REQUIRED[1:-2], *_OPTIONAL) if key in values}
        if "seed" in recipe:
            raise MappingError(
                f"{name}: recipe names the seed, which is an entry beside `recipe`", "Move it there"
            )
        read = {key: _score_columns(f"{name}: scores: {key}", v) for key, v in scores.items()}
        return cls(
            source=str(values["source"]),
            facts={key: _value(f"{name}: {key}", value) for key, value in facts.items()},
            recipe={key: _value(f"{name}: recipe: {key}", value) for key, value in recipe.items()},
            **read,
        )


def _value(name: str, value: Any) -> Any:
    """Read an entry: a constant as it is, a mapping as a Column."""
    if isinstance(value, list):
        raise MappingError(
            f"{name} is a list; allowed is a constant, or {{column: NAME}}", "Correct it"
        )
    if not isinstance(value, dict):
        return value
    entries = _entries(name, value, _names_of(Column), ("column",))
    if "values" in entries:
        theirs = _entries(f"{name}: values", entries["values"], None)
        entries["values"] = {str(key): ours for key, ours in theirs.items()}
    return Column(**_checked(name, entries))


def _score_columns(name: str, value: Any) -> ScoreColumns:
    entries = _entries(name, value, _names_of(ScoreColumns))
    if sum(form in entries for form in _SCORE_FORMS) != 1:
        raise MappingError(
            f"{name} has {', '.join(entries) or 'nothing'}; allowed is exactly one of "
            f"{', '.join(_SCORE_FORMS)}",
            "Name one number after the last epoch as column, one per epoch as columns, a list "
            "of [position, score] as curve",
        )
    if "end" in entries and "curve" not in entries:
        raise MappingError(f"{name} has an end, but no curve", "Take it out")
    if "columns" in entries:
        named = entries["columns"]
        if not isinstance(named, list) or not named or not all(isinstance(n, str) for n in named):
            raise MappingError(f"{name}: columns is {named!r}; allowed is a list of names")
        entries["columns"] = tuple(named)
    return ScoreColumns(**_checked(name, entries))


def _checked(name: str, entries: dict[str, Any]) -> dict[str, Any]:
    """Refuse names that are no text, and factors that are neither number nor name."""
    for key, value in entries.items():
        is_name = isinstance(value, str) and value
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if key in ("column", "curve") and not is_name:
            raise MappingError(f"{name}: {key} is {value!r}; allowed is the name of a column")
        if key in ("times", "divided_by", "end") and not (is_name or is_number):
            raise MappingError(f"{name}: {key} is {value!r}; allowed is a number or a column")
    return entries


def _entries(
    name: str, value: Any, known: tuple[str, ...] | None, required: tuple[str, ...] = ()
) -> dict[Any, Any]:
    """Return a YAML mapping whose keys are as they should be."""
    if not isinstance(value, dict) or not value:
        raise MappingError(f"{name} is {value!r}, not entries", "Write one `name: value` per line")
    unknown = [key for key in value if known is not None and key not in known]
    if unknown and known is not None:
        raise MappingError(
            f"{name} has the entry {unknown[0]!r}; allowed are {', '.join(known)}",
            "Correct the name",
        )
    missing = [key for key in required if key not in value]
    if missing:
        raise MappingError(
            f"{name} has no entry {missing[0]!r}; required are {', '.join(required)}",
            _CURES.get(missing[0], "Add it: a constant, or {column: NAME}"),
        )
    return dict(value)


def _names_of(kind: type[Column] | type[ScoreColumns]) -> tuple[str, ...]:
    return tuple(entry.name for entry in dataclasses.fields(kind))
