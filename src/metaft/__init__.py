"""metaft learns from past fine-tuning runs, so that the next one needs no search.

The public names are imported when they are first used, so `import metaft` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metaft.backbones.load import load_backbone
    from metaft.errors import MetaftError, UserError
    from metaft.finetuning.loop import fine_tune
    from metaft.prior.ask import suggest_for
    from metaft.prior.prior import Prior
    from metaft.recipes import Recipe
    from metaft.tasks.load import load_task
    from metaft.tasks.split import subsample
    from metaft.traces.store import TraceStore

__all__ = [
    "MetaftError",
    "Prior",
    "Recipe",
    "TraceStore",
    "UserError",
    "fine_tune",
    "load_backbone",
    "load_task",
    "subsample",
    "suggest_for",
]

_HOMES = {
    "MetaftError": "metaft.errors",
    "Prior": "metaft.prior.prior",
    "Recipe": "metaft.recipes",
    "TraceStore": "metaft.traces.store",
    "UserError": "metaft.errors",
    "fine_tune": "metaft.finetuning.loop",
    "load_backbone": "metaft.backbones.load",
    "load_task": "metaft.tasks.load",
    "subsample": "metaft.tasks.split",
    "suggest_for": "metaft.prior.ask",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home, once."""
    if name == "__version__":
        from importlib.metadata import version

        return version("metaft")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
