"""Row: one row of somebody else's table, and messages that say where it stands."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metaft.errors import MappingError


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        table: What messages call the table.
        at: 1 for the first row.
        cells: Column -> value; a nested record is a mapping itself.
    """

    table: str
    at: int
    cells: Mapping[str, Any]

    def cell(self, name: str) -> Any:
        """Return the cell of a column; a dot in the name goes into a nested record.

        Raises:
            MappingError: If there is no such column.
        """
        if name in self.cells:
            return self.cells[name]
        found: Any = self.cells
        for part in name.split("."):
            if found is None:
                return None
            if not isinstance(found, Mapping) or part not in found:
                raise MappingError(
                    f"{self.table} has no column {name!r}; it has {', '.join(_paths(self.cells))}",
                    "Correct the name in the mapping",
                )
            found = found[part]
        return found

    def is_known(self, name: str) -> bool:
        """Say whether a cell holds something: neither nothing nor NaN."""
        cell = self.cell(name)
        is_nan = isinstance(cell, float) and math.isnan(cell)
        return cell is not None and not is_nan and str(cell).strip().lower() not in ("", "nan")

    def number(self, name: float | str) -> float:
        """Return a constant as it is, or the cell of a column as a number.

        Raises:
            MappingError: If the cell is no finite number.
        """
        return self.as_number(name, self.cell(name)) if isinstance(name, str) else name

    def items(self, name: str) -> list[Any]:
        """Return a cell that holds a list, or the text of one; an empty cell holds none.

        Raises:
            MappingError: If it holds something else.
        """
        cell = self.cell(name)
        if cell is None or cell == "":
            return []
        if isinstance(cell, str):
            try:
                cell = json.loads(cell)
            except ValueError:
                raise self._no_list(name, cell) from None
        if not isinstance(cell, list):
            raise self._no_list(name, cell)
        return cell

    def as_number(self, name: str, value: Any) -> float:
        """Return what stands in a column as a finite number."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number):
            raise self.problem(f"{name} is {value!r}; allowed is a number")
        return number

    def as_pair(self, name: str, value: Any) -> tuple[float, float]:
        """Return an item of a curve as position and score."""
        if not isinstance(value, list) or len(value) != 2:
            raise self.problem(f"{name} holds {value!r}; allowed is [position, score]")
        return self.as_number(name, value[0]), self.as_number(name, value[1])

    def problem(self, what: str, cure: str = "Correct the table or the mapping") -> MappingError:
        """Return an error that says in which row something is wrong."""
        return MappingError(f"row {self.at} of {self.table}: {what}", cure)

    def _no_list(self, name: str, cell: Any) -> MappingError:
        return self.problem(f"{name} is {str(cell)[:40]!r}; allowed is a list of [position, score]")


def _paths(cells: Mapping[str, Any], before: str = "") -> list[str]:
    """Return the names of columns, nested ones with dots."""
    names: list[str] = []
    for name, cell in cells.items():
        inner = _paths(cell, f"{before}{name}.") if isinstance(cell, Mapping) else []
        names += inner or [f"{before}{name}"]
    return names
