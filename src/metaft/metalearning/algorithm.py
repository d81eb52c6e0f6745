"""What all algorithms share: an inner loop that adapts a clone, and an outer step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from metaft.backbones.backbone import Backbone
from metaft.finetuning.device import Compute
from metaft.finetuning.model import Classifier, trainable
from metaft.metalearning.feed import EpisodeBatches, LabelledBatch
from metaft.metalearning.heads import prototype_head, zero_head
from metaft.metalearning.library import import_learn2learn
from metaft.metalearning.settings import MetaSettings

NO_CLASSES: Mapping[str, int] = MappingProxyType({})


class MetaAlgorithm(ABC):
    """Accumulates meta-gradients of episodes in the `.grad` of what it learns.

    Attributes:
        backbone: Its learning parameters are moved by the outer step.
        learned: Everything that the outer step moves, by a name of its own.
        optimizer: Takes the outer step.
        is_checkpointing: Whether the inner steps are computed again on the way back.
    """

    is_first_order = True

    def __init__(
        self,
        backbone: Backbone,
        settings: MetaSettings,
        compute: Compute,
        classes: Mapping[str, int] = NO_CLASSES,
    ) -> None:
        """Prepare for a backbone that is frozen as far as it should be, on its device.

        Args:
            backbone: Its own weights are moved.
            settings: What to do.
            compute: Where and how precisely.
            classes: Name of each task that gives episodes -> number of its classes.

        Raises:
            MissingExtraError: If learn2learn is not installed.
        """
        self.library = import_learn2learn()
        self.backbone = backbone.eval()
        self.settings = settings
        self.compute = compute
        self.classes = classes
        self.is_checkpointing = settings.is_second_order and settings.checkpointing == "on"
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
        learner = self._clone(self.fresh_classifier(episode))
        for batch in episode.inner:
            self._adapt_step(learner, self.loss(learner, batch))
        return learner

    def loss(self, model: nn.Module, batch: LabelledBatch) -> Tensor:
        """Return the mean cross-entropy of a batch, in float32 or better."""
        with self.compute.autocast():
            logits = model(batch.inputs)
        precise = torch.promote_types(logits.dtype, torch.float32)
        return functional.cross_entropy(logits.to(precise), batch.labels)

    def fresh_classifier(self, episode: EpisodeBatches) -> Classifier:
        """Put a head for an episode on the backbone, which is shared, not copied."""
        with torch.random.fork_rng(devices=[]):  # The head's own random start is not used.
            classifier = Classifier(self.backbone, episode.ways, dropout=0.0)
        classifier.head.to(next(self.backbone.parameters()))
        if self.settings.head_init == "prototype":
            prototype_head(classifier.head, *self._inner_features(episode))
        else:
            zero_head(classifier.head)
        return classifier.eval()

    @torch.no_grad()
    def _inner_features(self, episode: EpisodeBatches) -> tuple[Tensor, Tensor]:
        """Return features and labels of the rows that the inner loop sees."""
        with self.compute.autocast():
            features = [self.backbone(batch.inputs) for batch in episode.inner]
        return torch.cat(features), torch.cat([batch.labels for batch in episode.inner])

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
