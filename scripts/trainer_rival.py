"""`transformers.Trainer` on the task, the model and the recipe of a metaft run.

Three ways of it, from the strictest to what a user's script does:

- `batches="same"`: metaft's own model, precision and settings, handed metaft's very batches;
- `batches="own"`: the same, but Trainer orders the rows (shuffled) as it does by default;
- `run_as_it_comes`: `AutoModelForSequenceClassification` and the defaults of Trainer (fp32,
  fused attention, linear schedule), batches padded to their longest row
  (`DataCollatorWithPadding`). Batch size, epochs, learning rate and validation after every
  epoch are the recipe's.

No way writes checkpoints, though a user who wants the best epoch must; rows are tokenised and
the model is loaded before the clock starts; the model is copied while it runs, as in metaft.
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from metaft.backbones.text import TextBackbone
from metaft.finetuning.batches import training_batches
from metaft.finetuning.device import resolve_compute
from metaft.finetuning.model import Classifier
from metaft.recipes import Recipe
from metaft.tasks.task import Task

Batches = Literal["same", "own"]
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class TrainerAnswer:
    """What a run of Trainer did: optimiser steps, mean loss over them, last accuracies."""

    steps: int
    train_loss: float
    validation_accuracy: float
    test_accuracy: float


class LabelledClassifier(nn.Module):
    """metaft's Classifier as Trainer takes a model: labels in, loss out."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, labels: Tensor | None = None, **batch: Tensor) -> dict[str, Tensor]:
        """Return the logits `(rows, outputs)`, and the loss where there are labels."""
        logits = self.classifier(batch)
        if labels is None:
            return {"logits": logits}
        return {"loss": functional.cross_entropy(logits.float(), labels), "logits": logits}


class TrainerRival:
    """Runs recipes on a classification of texts as Trainer does.

    Args:
        task: Sub-sampled already; its rows are tokenised here, once.
        backbone: Pretrained; every run trains a copy.
        max_length: Tokens per text.
    """

    def __init__(self, task: Task, backbone: TextBackbone, max_length: int) -> None:
        from datasets import Dataset

        self._task = task
        self._backbone = backbone
        self._examples = {
            name: backbone.encode(getattr(task, name), max_length=max_length, image_size=0)
            for name in _SPLITS
        }
        self._rows = {
            name: Dataset.from_dict(
                {**examples.columns, "labels": getattr(task, name).labels.astype(np.int64)}
            )
            for name, examples in self._examples.items()
        }
        self._plain_model = _plain_model(backbone, task.num_outputs)

    def run(self, recipe: Recipe, batches: Batches = "own") -> TrainerAnswer:
        """Run a recipe with metaft's model, precision and settings.

        The head starts at random: a linear probe would cost Trainer a pass over the rows.
        """
        model = LabelledClassifier(self._classifier(recipe))
        settings = {
            "per_device_eval_batch_size": 64,  # as many as metaft takes of short texts
            "lr_scheduler_type": "constant_with_warmup",
            "warmup_steps": recipe.warmup_fraction,
            "weight_decay": recipe.weight_decay,
            "max_grad_norm": recipe.max_gradient_norm,
            "bf16": resolve_compute("auto", recipe.precision).precision == "bf16",
            "remove_unused_columns": False,
        }
        return self._train(model, recipe, settings, batches)

    def run_as_it_comes(self, recipe: Recipe) -> TrainerAnswer:
        """Run the epochs, batch size and rate of a recipe with the defaults of Trainer."""
        return self._train(copy.deepcopy(self._plain_model), recipe, {}, "own")

    def _classifier(self, recipe: Recipe) -> Classifier:
        """Build the model that metaft builds for this recipe, to the last bit."""
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            backbone = copy.deepcopy(self._backbone)
            model = Classifier(backbone, self._task.num_outputs, recipe.dropout)
        model.backbone.freeze(recipe.frozen_fraction)
        return model

    def _train(
        self, model: nn.Module, recipe: Recipe, settings: dict[str, Any], batches: Batches
    ) -> TrainerAnswer:
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
            trainer = self._trainer(model, _arguments(recipe, folder, settings), batches, recipe)
            done = trainer.train()
            test = trainer.predict(self._rows["test"])
        scored = [log["eval_accuracy"] for log in trainer.state.log_history if "eval_loss" in log]
        return TrainerAnswer(
            steps=done.global_step,
            train_loss=done.training_loss,
            validation_accuracy=scored[-1],
            test_accuracy=test.metrics["test_accuracy"],
        )

    def _trainer(
        self, model: nn.Module, arguments: TrainingArguments, batches: Batches, recipe: Recipe
    ) -> Trainer:
        parts: dict[str, Any] = {
            "model": model,
            "args": arguments,
            "train_dataset": self._rows["train"],
            "eval_dataset": self._rows["validation"],
            "data_collator": DataCollatorWithPadding(self._backbone.tokenizer),
            "compute_metrics": _accuracy,
        }
        if batches == "own":
            trainer = Trainer(**parts)
        else:
            lengths = self._examples["train"].lengths
            trainer = _TrainerOfGivenBatches(_GivenBatches(lengths, recipe), **parts)
        trainer.remove_callback(PrinterCallback)  # stdout is the benchmark's own.
        return trainer


class _GivenBatches:
    """The batches that metaft draws for a recipe, epoch by epoch."""

    def __init__(self, lengths: np.ndarray, recipe: Recipe) -> None:
        self._lengths, self._size = lengths, recipe.batch_size
        self._rng = np.random.default_rng(recipe.seed)

    def __len__(self) -> int:
        return math.ceil(len(self._lengths) / self._size)

    def __iter__(self) -> Iterator[list[int]]:
        for rows in training_batches(self._lengths, self._size, self._rng):
            yield rows.tolist()


class _TrainerOfGivenBatches(Trainer):
    def __init__(self, given: _GivenBatches, **parts: Any) -> None:
        super().__init__(**parts)
        self._given = given

    def get_train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(
            self.train_dataset, batch_sampler=self._given, collate_fn=self.data_collator
        )


def _arguments(recipe: Recipe, folder: str, settings: dict[str, Any]) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        seed=recipe.seed,
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        use_cpu=not torch.cuda.is_available(),
        **settings,
    )


def _plain_model(backbone: TextBackbone, outputs: int) -> nn.Module:
    """Build what `AutoModelForSequenceClassification.from_pretrained` gives.

    Its pooler starts at random, where sentence encoders come without one; that costs no time.
    """
    config = copy.deepcopy(backbone.model.config)
    config.num_labels = outputs
    config.problem_type = "single_label_classification"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = AutoModelForSequenceClassification.from_config(
            config, attn_implementation="sdpa"
        )
    model.base_model.load_state_dict(backbone.model.base_model.state_dict(), strict=False)
    plain: nn.Module = model
    return plain


def _accuracy(predictions: Any) -> dict[str, float]:
    guessed = predictions.predictions.argmax(1)
    return {"accuracy": float((guessed == predictions.label_ids).mean())}
