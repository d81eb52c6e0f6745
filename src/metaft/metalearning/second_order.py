"""MAML and Meta-SGD: the query gradient goes through the inner loop.

In two ways, which agree to rounding. As they come, learn2learn keeps the graph of every inner
step until the end. With checkpointing, only the weights after each step are kept, and the way
back visits the steps one by one: memory is that of a single step, however many there are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from metaft.backbones.backbone import Backbone
from metaft.finetuning.device import Compute
from metaft.finetuning.model import Classifier, trainable
from metaft.metalearning.algorithm import NO_CLASSES, MetaAlgorithm
from metaft.metalearning.feed import EpisodeBatches, LabelledBatch
from metaft.metalearning.settings import MetaSettings

Weights = dict[str, Tensor]
_BACKBONE = "backbone."


class Maml(MetaAlgorithm):
    """MAML: the query gradient at the adapted weights, pulled back through every inner step.

    Source: Finn, Abbeel, Levine 2017, Model-Agnostic Meta-Learning, algorithm 1.
    """

    is_first_order = False

    def learn_from(self, episode: EpisodeBatches) -> float:
        """Accumulate the gradient of the query loss; see `MetaAlgorithm.learn_from`."""
        with twice_differentiable():
            if self.is_checkpointing:
                return self._learn_step_by_step(episode)
            loss = self.loss(self.adapt(episode), episode.query)
            (loss / self.settings.meta_batch_size).backward()
        return float(loss.detach())

    def _learn_step_by_step(self, episode: EpisodeBatches) -> float:
        """Go through the inner loop without a graph, then back, one step's graph at a time."""
        classifier = self.fresh_classifier(episode)
        passed = [_leaves(trainable(classifier))]  # The weights before each step.
        for batch in episode.inner:
            gradients = self._gradients(classifier, passed[-1], batch, twice=False)
            passed.append(_leaves(self._stepped(passed[-1], gradients)))
        loss = self._loss_at(classifier, passed[-1], episode.query)
        pull = dict(zip(passed[-1], _gradients_of(loss, passed.pop()), strict=True))
        for batch in reversed(episode.inner):
            weights = passed.pop()
            gradients = self._gradients(classifier, weights, batch, twice=True)
            pull = self._pull_back(weights, gradients, pull)
        self._accumulate(self.weights, pull, prefix=_BACKBONE)
        return float(loss.detach())

    def _pull_back(self, weights: Weights, gradients: Weights, pull: Weights) -> Weights:
        """Turn the derivative by the weights after a step into that by those before it.

        A step is w - rate * g(w), so the derivative loses H (rate * pull), with the Hessian H.
        """
        terms = [
            (gradients[name] * (self._rate(name) * pull[name]).detach()).sum() for name in pull
        ]
        curvature = _gradients_of(torch.stack(terms).sum(), weights)
        return {name: pull[name] - value for name, value in zip(weights, curvature, strict=True)}

    def _rate(self, name: str) -> float | Tensor:
        """Return the inner rate of a parameter of the classifier."""
        return self.settings.effective_inner_rate

    def _stepped(self, weights: Weights, gradients: Weights) -> Weights:
        return {name: weights[name] - self._rate(name) * gradients[name] for name in weights}

    def _gradients(
        self, classifier: Classifier, weights: Weights, batch: LabelledBatch, *, twice: bool
    ) -> Weights:
        loss = self._loss_at(classifier, weights, batch)
        found = _gradients_of(loss, weights, create_graph=twice)
        return dict(zip(weights, found, strict=True))

    def _loss_at(self, classifier: Classifier, weights: Weights, batch: LabelledBatch) -> Tensor:
        return self.loss(_WithWeights(classifier, weights), batch)

    def _accumulate(
        self, learning: Mapping[str, nn.Parameter], found: Weights, prefix: str = ""
    ) -> None:
        """Add an episode's share to the gradients of what is learned."""
        for name, parameter in learning.items():
            share = found[f"{prefix}{name}"].detach() / self.settings.meta_batch_size
            share = share.sum_to_size(parameter.shape)  # Rates of a head are shared by classes.
            parameter.grad = share if parameter.grad is None else parameter.grad + share


class MetaSgd(Maml):
    """Meta-SGD: MAML that also learns one inner rate per weight.

    A head is fresh in every episode and its classes mean nothing, so its rates are shared by
    the classes: one per feature, and one for the bias.

    Source: Li, Zhou, Chen, Li 2017, Meta-SGD, algorithm 1.

    Attributes:
        rates: Name of the parameter in the classifier -> its rates.
    """

    def __init__(
        self,
        backbone: Backbone,
        settings: MetaSettings,
        compute: Compute,
        classes: Mapping[str, int] = NO_CLASSES,
    ) -> None:
        """Start every rate at the inner rate; see `MetaAlgorithm`."""
        start = {f"{_BACKBONE}{name}": weight for name, weight in trainable(backbone).items()}
        like = next(backbone.parameters())
        start["head.weight"] = nn.Parameter(like.new_empty(1, backbone.width))
        start["head.bias"] = nn.Parameter(like.new_empty(1))
        self.rates = {
            name: nn.Parameter(torch.full_like(value, settings.effective_inner_rate))
            for name, value in start.items()
        }
        super().__init__(backbone, settings, compute, classes)

    def _build_optimizer(self) -> torch.optim.Optimizer:
        self.learned |= {f"rate of {name}": rate for name, rate in self.rates.items()}
        return super()._build_optimizer()

    def _clone(self, classifier: Classifier) -> Any:
        # learn2learn pairs rates and parameters by their order; frozen ones never use theirs.
        unused = torch.zeros(())
        rates = [self.rates.get(name, unused) for name, _ in classifier.named_parameters()]
        return self.library.algorithms.MetaSGD(classifier, lrs=rates).clone()

    def _adapt_step(self, learner: Any, loss: Tensor) -> None:
        """Take one step; learn2learn's own `adapt` cannot skip frozen parameters."""
        weights = list(learner.module.parameters())
        learning = [weight for weight in weights if weight.requires_grad]
        found = torch.autograd.grad(loss, learning, create_graph=True, allow_unused=True)
        remaining = iter(found)
        gradients = [next(remaining) if w.requires_grad else None for w in weights]
        self.library.algorithms.meta_sgd_update(learner.module, learner.lrs, gradients)

    def _rate(self, name: str) -> Tensor:
        return self.rates[name]

    def _pull_back(self, weights: Weights, gradients: Weights, pull: Weights) -> Weights:
        """Pull back through a step, whose derivative by the rates is -g."""
        self._accumulate(self.rates, {name: -gradients[name] * pull[name] for name in pull})
        return super()._pull_back(weights, gradients, pull)


@contextlib.contextmanager
def twice_differentiable() -> Iterator[None]:
    """Choose the attention that has a second derivative; the fused ones have none."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


class _WithWeights(nn.Module):
    """A classifier that computes with other weights than its own."""

    def __init__(self, classifier: Classifier, weights: Weights) -> None:
        super().__init__()
        self._call = lambda batch: functional_call(classifier, weights, (batch,))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self._call(batch)
        return logits


def _leaves(weights: Mapping[str, Tensor]) -> Weights:
    """Cut weights off from how they came about, so that they can be differentiated by."""
    return {name: value.detach().requires_grad_() for name, value in weights.items()}


def _gradients_of(value: Tensor, weights: Weights, *, create_graph: bool = False) -> list[Tensor]:
    """Differentiate by every weight; one that plays no part has a derivative of zero."""
    found = torch.autograd.grad(
        value, list(weights.values()), create_graph=create_graph, allow_unused=True
    )
    return [
        torch.zeros_like(weight) if gradient is None else gradient
        for weight, gradient in zip(weights.values(), found, strict=True)
    ]
