"""The algorithms: how the backbone's weights learn from one adapted episode.

All share the inner loop: learn2learn clones the classifier (backbone and a fresh head) and
adapts the clone by plain SGD. They differ in what the adapted clone says of the weights that
it was cloned from:

- Reptile: the way from the weights to the adapted ones;
- FOMAML: the gradient of the query loss at the adapted weights;
- MAML: the gradient of the query loss through the adaptation;
- Meta-SGD: as MAML, and the same for a rate of its own for every single weight;
- ANIL: as MAML, but only the head adapts.

Multi-task training, the rival that costs the same, has no inner loop.

Everything runs in eval mode: dropout would add noise to what only a few steps reveal, and
BatchNorm buffers, which learn2learn's clones share with the original, stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from metaft.metalearning.algorithm import MetaAlgorithm
from metaft.metalearning.feed import EpisodeBatches, LabelledBatch
from metaft.metalearning.second_order import Maml, MetaSgd
from metaft.metalearning.settings import Algorithm


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


class Anil(Fomaml):
    """ANIL: the head alone adapts, and the query gradient goes through its adaptation.

    No second derivative of the backbone is needed: the head's gradient is a product of
    features, and these are differentiated once.

    Source: Raghu, Raghu, Bengio, Vinyals 2020, Rapid Learning or Feature Reuse?, section 4.
    """

    is_first_order = False

    def _adapt_step(self, learner: Any, loss: Tensor) -> None:
        head = dict(learner.module.head.named_parameters())
        found = torch.autograd.grad(loss, list(head.values()), create_graph=True)
        gradient_of = dict(zip((id(weight) for weight in head.values()), found, strict=True))
        gradients = [gradient_of.get(id(weight)) for weight in learner.module.parameters()]
        self.library.algorithms.maml.maml_update(learner.module, learner.lr, gradients)


class MultiTask(MetaAlgorithm):
    """Multi-task training: no inner loop, one lasting head per task, Adam on every batch.

    It sees the rows of the same episodes in the same batches, and computes about as many
    gradients: what meta-learning gains over it is not gained by mere exposure.

    Attributes:
        heads: Task -> weight `(classes, width)` and bias `(classes,)`.
    """

    def learn_from(self, episode: EpisodeBatches) -> float:
        """Take one step per batch of an episode; see `MetaAlgorithm.learn_from`."""
        for batch in (*episode.inner, episode.query):
            loss = self._task_loss(episode, batch)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def step(self) -> None:
        """Do nothing: the steps are taken already."""

    def _build_optimizer(self) -> torch.optim.Optimizer:
        like = next(self.backbone.parameters())
        self.heads: dict[str, tuple[nn.Parameter, nn.Parameter]] = {}
        for task, count in sorted(self.classes.items()):
            weight = nn.Parameter(like.new_zeros(count, self.backbone.width))
            bias = nn.Parameter(like.new_zeros(count))
            self.heads[task] = (weight, bias)
            self.learned |= {f"head of {task}": weight, f"head bias of {task}": bias}
        return super()._build_optimizer()

    def _task_loss(self, episode: EpisodeBatches, batch: LabelledBatch) -> Tensor:
        weight, bias = self.heads[episode.task]
        classes = list(episode.classes)
        with self.compute.autocast():
            features = self.backbone(batch.inputs)
            logits = functional.linear(features, weight[classes], bias[classes])
        precise = torch.promote_types(logits.dtype, torch.float32)
        return functional.cross_entropy(logits.to(precise), batch.labels)


ALGORITHMS: dict[Algorithm, type[MetaAlgorithm]] = {
    "reptile": Reptile,
    "fomaml": Fomaml,
    "maml": Maml,
    "meta-sgd": MetaSgd,
    "anil": Anil,
    "multi-task": MultiTask,
}
