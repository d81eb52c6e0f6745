"""The blocks of a transformer: where they are, what goes in and out, and how to go around them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from metaft.errors import BackboneError


@contextlib.contextmanager
def skipped(blocks: Sequence[nn.Module], hidden: Tensor, outputs: int | None) -> Iterator[None]:
    """Let the first blocks hand on a cached state instead of computing it.

    The blocks stay where they are, and the model goes on around them: what families read off
    their blocks, the masks and the positions all stay the model's own business.
    """
    answer = hidden if outputs is None else (hidden, *[None] * (outputs - 1))
    for block in blocks:
        block.forward = lambda *_, **__: answer
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


@contextlib.contextmanager
def recorded(
    blocks: Sequence[nn.Module], depths: Sequence[int], found: dict[int, Tensor]
) -> Iterator[None]:
    """Keep what enters the first block (depth 0) and leaves the others; stop after the last."""
    deepest = max(depths)

    def keep(depth: int, hidden: Tensor) -> None:
        found[depth] = hidden
        if depth == deepest:
            raise _Enough

    def keep_output(depth: int) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            keep(depth, output[0] if isinstance(output, tuple) else output)

        return hook

    def keep_input(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        keep(0, args[0] if args else kwargs["hidden_states"])

    handles = [
        blocks[depth - 1].register_forward_hook(keep_output(depth)) for depth in depths if depth > 0
    ]
    if 0 in depths:
        handles.append(blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True))
    try:
        with contextlib.suppress(_Enough):
            yield
    finally:
        for handle in handles:
            handle.remove()


class _Enough(Exception):  # noqa: N818 - nothing went wrong
    """The deepest hidden state asked for is there: the rest need not run."""


def last_linear(model: nn.Module) -> str:
    """Return the path of the last linear layer: the classifier of every family."""
    paths = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return paths[-1]


def find_blocks(model: nn.Module) -> str:
    """Return the path of the longest list of modules: the blocks of every family."""
    lists = [
        (len(module), name)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList)
    ]
    if not lists:
        raise BackboneError(
            f"{type(model).__name__} has no list of blocks",
            "Choose a transformer encoder",
        )
    return max(lists, key=lambda found: found[0])[1]


def stem_of(base: nn.Module, blocks: nn.Module) -> list[nn.Module]:
    """Return the modules that the states after the first blocks depend on besides the blocks.

    These are the children of the base model before the one that holds the blocks, and all that
    lies beside the blocks inside that one: relative positions (DeBERTa, MPNet) are read by every
    block, so states that are kept would be stale if they learned.

    Args:
        base: The model without the head of any family's classifier.
        blocks: The list of them, somewhere inside.
    """
    before: list[nn.Module] = []
    for child in base.children():
        if _holds(child, blocks):
            return before + _beside(child, blocks)
        before.append(child)
    return before


def _beside(holder: nn.Module, blocks: nn.Module) -> list[nn.Module]:
    """Return the modules inside a holder that hold no block."""
    if holder is blocks:
        return []
    found: list[nn.Module] = []
    for child in holder.children():
        found += _beside(child, blocks) if _holds(child, blocks) else [child]
    return found


def _holds(module: nn.Module, blocks: nn.Module) -> bool:
    return any(inside is blocks for inside in module.modules())


def replace_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module in the place of the one at a path."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)
