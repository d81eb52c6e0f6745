"""Ways: the methods that a study may compare, and what kind each is."""

from __future__ import annotations

import difflib
import re
import typing

from metaft.errors import StudyError
from metaft.searching.proposals import Sampler, SearchWay

STARTS = ("reptile", "fomaml", "maml", "meta-sgd", "anil", "multi-task")
"""Algorithms whose initialisations may be compared: those of `metaft meta-train`."""

PRIOR = "prior"
"""Stands for the initialisation that a prior holds."""

_CHOSEN = ("plain", "steady", "half_frozen", "learned", "learned-cost", "best-average")
_SAMPLERS: tuple[Sampler, ...] = typing.get_args(Sampler)
_SEARCH = re.compile(rf"search-({'|'.join(_SAMPLERS)})-([1-9]\d{{0,3}})")

KNOWN_WAYS = (
    *_CHOSEN,
    *(f"search-{sampler}-N" for sampler in _SAMPLERS),
    *(f"init-{start}" for start in (*STARTS, PRIOR)),
)
"""What `methods` of a study card takes."""


def check_way(name: str, where: str) -> None:
    """Refuse what is no method.

    Raises:
        StudyError: With the nearest one.
    """
    if (name in KNOWN_WAYS and not name.endswith("-N")) or search_way(name):
        return
    near = difflib.get_close_matches(name, KNOWN_WAYS, n=1)
    raise StudyError(
        f"{where}: {name!r} is no method; the methods are {', '.join(KNOWN_WAYS)}, N being a "
        "number of trials",
        f"Write {near[0]}" if near else "Correct the name",
    )


def search_way(name: str) -> SearchWay | None:
    """Return the search that a method makes; None where it makes none."""
    found = _SEARCH.fullmatch(name)
    if found is None:
        return None
    return SearchWay(typing.cast("Sampler", found[1]), int(found[2]))


def start_of(name: str) -> str | None:
    """Return the initialisation that a method starts from; None for the pretrained weights."""
    prefix, _, start = name.partition("init-")
    return start if not prefix and start else None
