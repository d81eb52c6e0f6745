"""Replaced: one function of torch stands in for another, whoever calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode


class Replaced(TorchFunctionMode):
    """A context that sees every call in this thread, by a module or by a model's own code.

    Attributes:
        original: What is called.
        by: What answers instead; inside it the original is itself again.
    """

    def __init__(self, original: Callable[..., Any], by: Callable[..., Any]) -> None:
        super().__init__()
        self.original, self.by = original, by

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        called = self.by if func is self.original else func
        return called(*args, **(kwargs or {}))
