"""Finding the ordered blocks of any timm model, and running it from one of them on.

A block is a single residual block (an inverted residual, a ResNet bottleneck, a transformer
or ConvNeXt block), not a stage: a frozen fraction then moves in steps of similar cost, as it
does in a text encoder. Which modules these are, each timm model says itself in its
`group_matcher`, kept there for layer-wise learning rates; there is no table per family here.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from metaft.errors import BackboneError


@dataclass(frozen=True, slots=True)
class Outline:
    """A model's modules in order, by path.

    Attributes:
        stem: Modules before the first block.
        loose: Parameters that belong to no module but the model (class token, positions);
            they count as stem.
        units: One per block: the modules since the block before (a downsampling layer
            between two stages), then the block itself.
    """

    stem: tuple[str, ...]
    loose: tuple[str, ...]
    units: tuple[tuple[str, ...], ...]

    @property
    def blocks(self) -> tuple[str, ...]:
        """The path of each block itself."""
        return tuple(unit[-1] for unit in self.units)


def outline_of(model: nn.Module) -> Outline:
    """Find stem and blocks of a timm model.

    Raises:
        BackboneError: If the model does not say what its blocks are.
    """
    blocks = _block_paths(model)
    if not blocks:
        raise BackboneError(
            f"{type(model).__name__} does not say which of its modules are blocks",
            "Choose another timm model, such as tf_efficientnet_lite0 or resnet18",
        )
    units: list[tuple[str, ...]] = []
    since_last: list[str] = []
    stem: tuple[str, ...] = ()
    loose: list[str] = []
    for path in _disjoint_paths(model, "", set(blocks), loose):
        if path not in blocks:
            since_last.append(path)
            continue
        if not units:
            stem, since_last = tuple(since_last), []
        units.append((*since_last, path))
        since_last = []
    return Outline(stem=stem, loose=tuple(loose), units=tuple(units))


@contextlib.contextmanager
def handed_in(model: nn.Module, outline: Outline, start: int, hidden: Tensor) -> Iterator[None]:
    """Let the model hand `hidden` to block `start`, whatever its stem computes.

    Every module after the stem and before that block is replaced for the while, so what the
    family does around its blocks (positions, reshaping) stays its own business.

    Args:
        model: A timm model.
        outline: Its own.
        start: In [1, number of blocks].
        hidden: The state after depth `start`.
    """
    skipped = [path for unit in outline.units[:start] for path in unit]
    originals = {path: model.get_submodule(path) for path in skipped}
    for path in skipped:
        model.set_submodule(path, _Skip())
    model.set_submodule(skipped[-1], _HandIn(hidden))
    try:
        yield
    finally:
        for path, module in originals.items():
            model.set_submodule(path, module)


@contextlib.contextmanager
def recorded(
    blocks: Sequence[nn.Module], depths: Sequence[int], found: dict[int, Tensor]
) -> Iterator[None]:
    """Keep what enters the first block (depth 0) and leaves the others; stop after the last.

    Args:
        blocks: The model's blocks.
        depths: In [0, len(blocks)], at least one.
        found: Depth -> hidden state, filled while the model runs.
    """
    deepest = max(depths)

    def keep(depth: int, hidden: Tensor) -> None:
        found[depth] = hidden
        if depth == deepest:
            raise _Enough

    def keep_input(_: nn.Module, args: tuple[Any, ...]) -> None:
        keep(0, args[0])

    def keep_output(depth: int) -> Any:
        return lambda _module, _args, output: keep(depth, output)

    handles = [
        blocks[depth - 1].register_forward_hook(keep_output(depth)) for depth in depths if depth
    ]
    if 0 in depths:
        handles.append(blocks[0].register_forward_pre_hook(keep_input))
    try:
        with contextlib.suppress(_Enough):
            yield
    finally:
        for handle in handles:
            handle.remove()


class _Enough(Exception):  # noqa: N818 - nothing went wrong
    """The deepest hidden state asked for is there: the rest need not run."""


class _Skip(nn.Module):
    """Stands for a module whose result is not needed."""

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden


class _HandIn(nn.Module):
    """Stands for the last block before `start`: gives its cached output."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self._hidden = hidden

    def forward(self, *_: Any, **__: Any) -> Tensor:
        return self._hidden


def _block_paths(model: nn.Module) -> tuple[str, ...]:
    """Return the paths that a timm model's own grouping calls blocks, in its module order."""
    matcher: Any = getattr(model, "group_matcher", dict)()
    patterns = [re.compile(pattern) for pattern in _block_patterns(matcher)]
    return tuple(
        path
        for path, _ in model.named_modules()
        if any(pattern.fullmatch(path) for pattern in patterns)
    )


def _block_patterns(matcher: Any) -> list[str]:
    """Return the patterns that number blocks.

    A grouping maps a name to a pattern, or to pairs of a pattern and a suffix; a suffix marks
    modules that only go along with a block, and a pattern without a number is no block.
    """
    if not isinstance(matcher, Mapping):
        return []
    patterns = []
    for name, value in matcher.items():
        pairs = [(value, None)] if isinstance(value, str) else list(value or ())
        patterns += [
            pattern
            for pattern, suffix in pairs
            if name != "stem" and suffix is None and r"(\d+)" in pattern
        ]
    return patterns


def _disjoint_paths(
    module: nn.Module, path: str, blocks: set[str], loose: list[str]
) -> Iterator[str]:
    """Walk down to the blocks and yield every module on the way that holds none of them."""
    prefix = f"{path}." if path else ""
    loose += [prefix + name for name, _ in module.named_parameters(recurse=False)]
    for name, child in module.named_children():
        below = prefix + name
        if below in blocks or not any(block.startswith(f"{below}.") for block in blocks):
            yield below
        else:
            yield from _disjoint_paths(child, below, blocks, loose)
