from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from metaft.finetuning.chain import TagChain
from metaft.finetuning.entities import scheme_steps

NAMES = ("O", "B-X", "I-X", "B-Y")
WORDS = [4, 1, 3]


@pytest.fixture
def chain() -> TagChain:
    made = TagChain(scheme_steps(NAMES)).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return made


@pytest.fixture
def scores() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 4, len(NAMES), generator=generator, dtype=torch.float64)


@pytest.fixture
def mask() -> torch.Tensor:
    return torch.arange(4) < torch.tensor(WORDS)[:, None]


def _all_tags(words: int) -> list[tuple[int, ...]]:
    return list(itertools.product(range(len(NAMES)), repeat=words))


def _is_allowed(tags: tuple[int, ...]) -> bool:
    names = [NAMES[tag] for tag in tags]
    return names[0] != "I-X" and not any(
        then == "I-X" and name not in ("B-X", "I-X") for name, then in itertools.pairwise(names)
    )


def _score(chain: TagChain, scores: torch.Tensor, tags: tuple[int, ...]) -> float:
    total = float((chain.first[tags[0]] + chain.last[tags[-1]]).detach())
    total += sum(float(scores[at, tag]) for at, tag in enumerate(tags))
    return total + sum(float(chain.transitions[a, b].detach()) for a, b in itertools.pairwise(tags))


def test_likelihoods_are_those_of_brute_force(chain, scores, mask) -> None:
    for row, words in enumerate(WORDS):
        weights = {
            tags: np.exp(_score(chain, scores[row], tags))
            for tags in _all_tags(words)
            if _is_allowed(tags)
        }
        for tags, weight in weights.items():
            padded = torch.zeros(3, 4, dtype=torch.int64)
            padded[row, :words] = torch.tensor(tags)
            found = chain.log_likelihood(scores, padded, mask)[row]
            assert float(found) == pytest.approx(np.log(weight / sum(weights.values())), abs=1e-9)


def test_decoding_finds_the_best_allowed_tags(chain, scores, mask) -> None:
    found = chain.decode(scores, mask)
    for row, words in enumerate(WORDS):
        allowed = filter(_is_allowed, _all_tags(words))
        best = max(allowed, key=lambda tags: _score(chain, scores[row], tags))
        assert tuple(found[row]) == best


def test_what_is_barred_is_never_decoded_whatever_the_scores_say(chain) -> None:
    scores = torch.zeros(1, 3, len(NAMES), dtype=torch.float64)
    scores[0, :, 2] = 100.0  # I-X, which nothing may begin with
    (tags,) = chain.decode(scores, torch.ones(1, 3, dtype=torch.bool))
    assert _is_allowed(tuple(tags))
    assert tags[1:] == [2, 2]


def test_tags_are_allowed_that_brute_force_allows(chain, mask) -> None:
    for row, words in enumerate(WORDS):
        for tags in _all_tags(words):
            padded = torch.full((3, 4), 2)
            padded[row, :words] = torch.tensor(tags)
            assert bool(chain.allows(padded, mask)[row]) == _is_allowed(tags)


def test_gradients_agree_with_finite_differences(chain, scores, mask) -> None:
    tags = torch.tensor([[0, 1, 2, 0], [3, 0, 0, 0], [0, 0, 1, 0]])

    def likelihood(given: torch.Tensor, transitions: torch.Tensor) -> torch.Tensor:
        chain.transitions.data = transitions.detach()
        return torch.func.functional_call(
            chain, {"transitions": transitions}, (given, tags, mask)
        ).sum()

    chain.forward = chain.log_likelihood  # type: ignore[method-assign]
    inputs = scores.requires_grad_(), chain.transitions.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(likelihood, inputs)


def test_half_precision_scores_are_summed_in_float32(scores, mask) -> None:
    chain = TagChain(scheme_steps(NAMES))
    tags = torch.zeros(3, 4, dtype=torch.int64)
    assert chain.log_likelihood(scores.bfloat16(), tags, mask).dtype == torch.float32


def test_a_row_without_words_is_certain(chain, scores) -> None:
    none = torch.zeros(3, 4, dtype=torch.bool)
    found = chain.log_likelihood(scores, torch.zeros(3, 4, dtype=torch.int64), none)
    assert found.tolist() == [0.0, 0.0, 0.0]
    assert chain.decode(scores, none) == [[], [], []]
