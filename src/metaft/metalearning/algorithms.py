"""The algorithms: how the backbone's weights learn from one adapted episode.

All share the inner loop: learn2learn clones the classifier (backbone and a fresh head) and
adapts the clone by plain SGD. They differ in what the adapted clone says of the weights that
it was cloned from:

- Reptile: the way from the weights to the adapted ones;
- FOMAML: the gradient of the query loss at the adapted weights;
- MAML: the gradient of the query loss through the adaptation;
- Meta-SGD: as MAML, and the same for a rate of its own for every single weight.

Everything runs in eval mode: dropout would add noise to what only a few steps reveal, and
BatchNorm buffers, which learn2learn's clones share with the original, stay as they are.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from metaft.backbones.backbone import Backbone
from metaft.finetuning.device import Compute
from metaft.finetuning.model import Classifier, trainable
from metaft.metalearning.feed import EpisodeBatches, LabelledBatch
from metaft.metalearning.library import import_learn2learn
from metaft.metalearning.settings import Algorithm, MetaSettings


class MetaAlgorithm(ABC):
    """Accumulates meta-gradients of episodes in the `.grad` of what it learns.

    Attributes:
        backbone: Its learning parameters are moved by the outer step.
        learned: Everything that the outer step moves, by a name of its own.
        optimizer: Takes the outer step.
    """

    is_first_order = True

    def __init__(self, backbone: Backbone, settings: MetaSettings, compute: Compute) -> None:
        """Prepare for a backbone that is frozen as far as it should be, on its device.

        Raises:
            MissingExtraError: If learn2learn is not installed.
        """
        self.library = import_learn2learn()
        self.backbone = backbone.eval()
        self.settings = settings
        self.compute = compute
        self.weights: dict[str, nn.Parameter] = trainable(backbone)
        self.learned = dict(self.weights)
        self.optimizer = self._build_optimizer()

    @abstractmethod
    def learn_from(self, episode: EpisodeBatches) -> float:
        """Adapt to an episode and accumulate its share of the meta-gradient.

        Returns:
            Mean query loss after adaptation, in nats.
        """

    def step(self) -> None:
        """Take the outer step along what was accumulated, and forget it."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def adapt(self, episode: EpisodeBatches) -> Any:
        """Run the inner loop.

        Returns:
            learn2learn's clone, adapted; its `module` is a Classifier.
        """
        learner = self._clone(self._fresh_classifier(episode.ways))
        for batch in episode.inner:
            self._adapt_step(learner, self.loss(learner, batch))
        return learner

    def loss(self, model: nn.Module, batch: LabelledBatch) -> Tensor:
        """Return the mean cross-entropy of a batch, in float32 or better."""
        with self.compute.autocast():
            logits = model(batch.inputs)
        precise = torch.promote_types(logits.dtype, torch.float32)
        return functional.cross_entropy(logits.to(precise), batch.labels)

    def _build_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.learned.values(), lr=self.settings.effective_outer_rate)

    def _clone(self, classifier: Classifier) -> Any:
        # allow_nograd: without it learn2learn cannot adapt a model with frozen parameters.
        maml = self.library.algorithms.MAML(
            classifier,
            lr=self.settings.effective_inner_rate,
            first_order=self.is_first_order,
            allow_nograd=True,
        )
        return maml.clone()

    def _adapt_step(self, learner: Any, loss: Tensor) -> None:
        learner.adapt(loss)

    def _fresh_classifier(self, ways: int) -> Classifier:
        """Put a head of zeros on the backbone, which is shared, not copied."""
        with torch.random.fork_rng(devices=[]):  # The head's own random start is not used.
            classifier = Classifier(self.backbone, ways, dropout=0.0)
        nn.init.zeros_(classifier.head.weight)
        classifier.head.to(next(self.backbone.parameters()))
        return classifier.eval()


class Reptile(MetaAlgorithm):
    """theta <- theta + outer_rate * mean(adapted - theta).

    Source: Nichol, Achiam, Schulman 2018, On First-Order Meta-Learning Algorithms, eq. 3.
    """

    def learn_from(self, episode: EpisodeBatches) -> float:
        """Accumulate the way from the adapted weights back; see `MetaAlgorithm.learn_from`."""
        learner = self.adapt(episode)
        adapted = dict(learner.module.backbone.named_parameters())
        for name, weight in self.weights.items():
            way = (weight - adapted[name]).detach() / self.settings.meta_batch_size
            weight.grad = way if weight.grad is None else weight.grad + way
        with torch.no_grad():
            return float(self.loss(learner, episode.query))

    def _build_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.learned.values(), lr=self.settings.effective_outer_rate)


class Fomaml(MetaAlgorithm):
    """First-order MAML: the query gradient at the adapted weights moves the original ones.

    Source: Finn, Abbeel, Levine 2017, Model-Agnostic Meta-Learning, section 5.2.
    """

    def learn_from(self, episode: EpisodeBatches) -> float:
        """Accumulate the gradient of the query loss; see `MetaAlgorithm.learn_from`."""
        loss = self.loss(self.adapt(episode), episode.query)
        (loss / self.settings.meta_batch_size).backward()
        return float(loss.detach())


class Maml(Fomaml):
    """MAML: the query gradient goes through the inner loop.

    Source: Finn, Abbeel, Levine 2017, Model-Agnostic Meta-Learning, algorithm 1.
    """

    is_first_order = False

    def learn_from(self, episode: EpisodeBatches) -> float:
        """Accumulate the gradient of the query loss; see `MetaAlgorithm.learn_from`."""
        with _twice_differentiable():
            return super().learn_from(episode)


class MetaSgd(Maml):
    """Meta-SGD: MAML that also learns one inner rate per weight.

    A head is fresh in every episode and its classes mean nothing, so its rates are shared by
    the classes: one per feature, and one for the bias.

    Source: Li, Zhou, Chen, Li 2017, Meta-SGD, algorithm 1.

    Attributes:
        rates: Name of the parameter in the classifier -> its rates.
    """

    def __init__(self, backbone: Backbone, settings: MetaSettings, compute: Compute) -> None:
        """Start every rate at the inner rate; see `MetaAlgorithm`."""
        start = {f"backbone.{name}": weight for name, weight in trainable(backbone).items()}
        like = next(backbone.parameters())
        start["head.weight"] = nn.Parameter(like.new_empty(1, backbone.width))
        start["head.bias"] = nn.Parameter(like.new_empty(1))
        self.rates = {
            name: nn.Parameter(torch.full_like(value, settings.effective_inner_rate))
            for name, value in start.items()
        }
        super().__init__(backbone, settings, compute)

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


ALGORITHMS: dict[Algorithm, type[MetaAlgorithm]] = {
    "reptile": Reptile,
    "fomaml": Fomaml,
    "maml": Maml,
    "meta-sgd": MetaSgd,
}


@contextlib.contextmanager
def _twice_differentiable() -> Iterator[None]:
    """Choose the attention that has a second derivative; the fused ones have none."""
    with sdpa_kernel(SDPBackend.MATH):
        yield
