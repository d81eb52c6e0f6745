from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from metaft.finetuning import stepper
from metaft.finetuning.dropout import dropout, quick_dropout
from metaft.finetuning.loop import fine_tune
from metaft.recipes import Recipe

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.1, 0.5, 0.99])
def test_each_element_is_dropped_at_the_rate_and_the_others_are_scaled(
    dtype: torch.dtype, p: float
) -> None:
    rows = 100_000
    dropped = dropout(torch.ones(rows, 4, dtype=dtype), p)
    # Four draws share one random integer: the bits of each have to be right.
    rates = (dropped == 0).double().mean(0).numpy()
    assert rates == pytest.approx([p] * 4, abs=4.5 * (p * (1 - p) / rows) ** 0.5)
    factors = dropped[dropped != 0].unique()
    rounding = max(2e-3, torch.finfo(dtype).eps)  # p = 0.99 leaves 328 of 2**15 draws.
    assert factors.double().numpy() == pytest.approx([1 / (1 - p)], rel=rounding)


def test_the_rate_is_exact_to_the_bits_of_a_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    every = np.arange(-(2**15), 2**15, dtype=np.int16)
    monkeypatch.setattr(
        Tensor, "random_", lambda self, *_: self.copy_(torch.from_numpy(every).view(torch.int64))
    )
    dropped = dropout(torch.ones(2**16, dtype=torch.float64), 0.1)
    assert float((dropped == 0).double().mean()) == pytest.approx(0.1, abs=2**-16)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=1e-12)


def test_elements_are_dropped_independently_of_each_other() -> None:
    first, second = (dropout(torch.ones(50_000, 8), 0.3).numpy() for _ in range(2))
    together = np.corrcoef(np.concatenate([first, second], axis=1).T)
    assert np.abs(together - np.eye(16)).max() < 5 / 50_000**0.5


def test_the_gradient_is_that_of_the_same_mask() -> None:
    given = torch.randn(3, 5, 7, dtype=torch.float64, requires_grad=True)

    def dropped(values: Tensor) -> Tensor:
        torch.manual_seed(1)
        return dropout(values, 0.4)

    assert torch.autograd.gradcheck(dropped, given)
    assert torch.autograd.gradgradcheck(dropped, given)


def test_the_seed_decides() -> None:
    given = torch.ones(1000)
    answers = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        answers.append(dropout(given, 0.1))
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])


def test_shapes_and_ways_of_calling_are_those_of_torch() -> None:
    given = torch.randn(4, 6).T
    assert dropout(given).shape == given.shape
    assert dropout(torch.zeros(0, 3)).shape == (0, 3)
    assert torch.equal(dropout(given, 0.5, training=False), given)
    assert torch.equal(dropout(given, 0.0), given)
    assert torch.equal(dropout(given, 1.0), torch.zeros_like(given))
    ones = torch.ones(7)
    assert dropout(ones, 0.9, inplace=True) is ones
    assert float(ones.min()) == 0.0
    with pytest.raises(ValueError, match="between 0 and 1"):
        dropout(given, 1.5)


class _Seen(TorchDispatchMode):
    """Collects the names of the operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def _operations(action: Callable[[], object]) -> set[str]:
    with _Seen() as seen:
        action()
    return seen.names & {"bernoulli_", "native_dropout", "random_"}


def test_within_the_context_modules_and_attention_drop_quickly(
    tiny_text_backbone, tiny_task
) -> None:
    backbone = tiny_text_backbone().train()
    examples = backbone.encode(tiny_task(rows=8).train, max_length=16, image_size=0)
    batch = backbone.collate(examples, np.arange(4))
    with quick_dropout("cpu"):
        assert _operations(lambda: backbone(batch)) == {"random_"}
    assert "random_" not in _operations(lambda: backbone(batch))
    with quick_dropout("cuda"):
        assert "random_" not in _operations(lambda: nn.Dropout(0.1)(torch.ones(3)))
    backbone.eval()
    with quick_dropout("cpu"):
        assert not _operations(lambda: functional.dropout(torch.ones(3), training=False))


def test_runs_learn_as_with_the_dropout_of_torch(
    tiny_text_backbone, tiny_task, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, backbone = tiny_task(rows=64), tiny_text_backbone()
    recipe = Recipe(
        learning_rate=3e-3, epochs=3, batch_size=8, dropout=0.3, precision="fp32", max_length=32
    )

    def losses() -> np.ndarray:
        recipes = [dataclasses.replace(recipe, seed=seed) for seed in range(6)]
        curves = [fine_tune(task, backbone, one, device="cpu").outcome.curve for one in recipes]
        return np.array([[record.train_loss for record in curve] for curve in curves])

    ours = losses()
    assert np.array_equal(ours, losses())
    monkeypatch.setattr(stepper, "quick_dropout", lambda _: quick_dropout("cuda"))
    theirs = losses()
    assert not np.array_equal(ours, theirs)
    # Six seeds on either side; only the masks differ between pairs.
    differences = ours - theirs
    error = differences.std(0, ddof=1) / len(differences) ** 0.5
    assert (np.abs(differences.mean(0)) < 5 * error).all()
    assert (np.abs(differences.mean(0)) < 0.1 * theirs.mean(0)).all()
