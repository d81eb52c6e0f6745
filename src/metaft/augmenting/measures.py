"""What augmentation does to a dataset: how diverse its versions are, and whether labels hold."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from metaft.augmenting.perplexity import LanguageModel
from metaft.augmenting.spans import spans_of, text_of
from metaft.augmenting.versions import Varied
from metaft.backbones.backbone import Examples
from metaft.finetuning.augmentation import Augmenter
from metaft.finetuning.batches import evaluation_batches
from metaft.finetuning.device import Device, resolve_compute
from metaft.finetuning.head import fit_probe_head
from metaft.finetuning.prefix_cache import on_device
from metaft.finetuning.text_augmentation import TextAugmenter
from metaft.tasks.split import strata_of, stratified_order

EPOCHS = 3
"""Versions of each row that are measured."""

_NGRAM = 4  # Longest n-gram of BLEU.
_MIXED_ROWS = 16  # Of a batch in which rows are mixed.


@dataclass(frozen=True, slots=True)
class Effect:
    """What a method does. Numbers that make no sense for a modality are NaN.

    Attributes:
        method: Its name; `none` for the rows as they are.
        changed: Share of the versions that differ from their row, in [0, 1].
        distinct_1, distinct_2: Distinct tokens, and pairs of them, over all that there are.
        self_bleu: How alike the versions of a row are, 1 for the same; mean over rows.
        pixel_distance: Mean absolute difference of changed images, in shares of the range.
        embedding_cosine: Of changed rows with what they were, after the pretrained backbone.
        label_kept: Share of changed rows to which a model, fitted to other rows as they are,
            gives the class that it gave before; NaN for a regression.
        perplexity: Of changed rows to a language model; of `none`, of the rows as they are. NaN
            without such a model.
    """

    method: str
    changed: float
    distinct_1: float
    distinct_2: float
    self_bleu: float
    pixel_distance: float
    embedding_cosine: float
    label_kept: float
    perplexity: float = math.nan

    def to_mapping(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dataclasses.asdict(self)


def measure_effects(
    varied: Varied,
    *,
    language_model: LanguageModel | None = None,
    device: Device = "auto",
    on_method: Callable[[str], None] | None = None,
) -> list[Effect]:
    """Measure every method, after the rows as they are.

    Half of the rows fit the model that judges the labels of the other half.

    Args:
        varied: Rows and methods.
        language_model: Says how likely the texts are; None leaves that out.
        device: Where the models run.
        on_method: Called after each.
    """
    bench = _Bench(varied, device, language_model)
    effects = [bench.baseline()]
    for method in varied.augmenters:
        effects.append(bench.effect(method))
        if on_method:
            on_method(method)
    return effects


def self_bleu(versions: Sequence[Sequence[Hashable]]) -> float:
    """Return the mean BLEU-4 of each version against the others, smoothed by one.

    Args:
        versions: Two or more sequences of tokens.

    Source: Zhu et al. (2018), Texygen; smoothing as Lin & Och (2004).
    """
    scores = [
        _bleu(version, [other for at, other in enumerate(versions) if at != number])
        for number, version in enumerate(versions)
    ]
    return sum(scores) / len(scores)


def distinct(rows: Sequence[Sequence[Hashable]], length: int) -> float:
    """Return distinct n-grams over all n-grams; NaN where there are none."""
    found = [ngram for row in rows for ngram in _ngrams(row, length)]
    return len(set(found)) / len(found) if found else math.nan


class _Bench:
    """The rows as they are, their features, and the model that judges labels."""

    def __init__(
        self, varied: Varied, device: Device, language_model: LanguageModel | None
    ) -> None:
        self.varied = varied
        self.language_model = language_model
        self.compute = resolve_compute(device, "auto")
        varied.backbone.to(self.compute.device).eval()
        self.rows = np.arange(len(varied.examples))
        self.features = self._features(varied.examples)
        self.is_fitted = _half_of(varied.task.train.labels)
        self.judge = self._fit_judge()

    def baseline(self) -> Effect:
        """Return what the rows are without any change."""
        repeated = self._tokens(self.varied.examples) * EPOCHS
        return Effect(
            method="none",
            changed=0.0,
            distinct_1=distinct(repeated, 1),
            distinct_2=distinct(repeated, 2),
            self_bleu=1.0 if repeated else math.nan,
            pixel_distance=math.nan if repeated else 0.0,
            embedding_cosine=1.0,
            label_kept=math.nan if self.judge is None else 1.0,
            perplexity=self._perplexity_before(),
        )

    def effect(self, method: str) -> Effect:
        """Measure one method."""
        seen = [self._version(method, epoch) for epoch in range(1, EPOCHS + 1)]
        versions = [version for version, _ in seen]
        changed = np.stack([is_changed for _, is_changed in seen])  # (epochs, rows)
        tokens = [self._tokens(version) for version in versions]
        every = [row for version in tokens for row in version]
        features = [self._features(version) for version in versions]
        return Effect(
            method=method,
            changed=float(changed.mean()),
            distinct_1=distinct(every, 1),
            distinct_2=distinct(every, 2),
            self_bleu=_mean([self_bleu(row) for row in zip(*tokens, strict=True)]),
            pixel_distance=self._pixel_distance(versions, changed),
            embedding_cosine=self._cosine(features, changed),
            label_kept=self._label_kept(features, changed),
            perplexity=self._perplexity_after(method, changed),
        )

    def _version(self, method: str, epoch: int) -> tuple[Examples, np.ndarray]:
        """Return the rows as they are in an epoch, and which of them are changed."""
        augmenter = self.varied.augmenters[method]
        version = augmenter.vary(self.rows, epoch)
        changed = np.array([self.varied.is_changed(method, int(r), epoch) for r in self.rows])
        for batch in np.array_split(self.rows, max(1, len(self.rows) // _MIXED_ROWS)):
            mixing = augmenter.mix(batch, epoch)
            if mixing is not None:
                pixels: Any = version.columns["pixels"]
                blended = mixing.blend({"pixels": pixels[batch].float()})["pixels"]
                pixels[batch] = blended.round().to(torch.uint8)
                changed[batch] = True
        return version, changed

    def _tokens(self, examples: Examples) -> list[list[int]]:
        return [np.asarray(row).tolist() for row in examples.columns.get("input_ids", ())]

    @torch.no_grad()
    def _features(self, examples: Examples) -> torch.Tensor:
        """Return the pretrained backbone's features `(rows, width)`."""
        found = torch.empty(len(examples), self.varied.backbone.width)
        for rows in evaluation_batches(examples.lengths):
            batch = self.varied.backbone.collate(examples, rows)
            with self.compute.autocast():
                features = self.varied.backbone(on_device(batch, self.compute.device))
            found[torch.from_numpy(rows)] = features.float().cpu()
        return found

    def _fit_judge(self) -> nn.Linear | None:
        """Fit a linear model to half of the rows."""
        task = self.varied.task
        if task.is_regression:
            return None
        judge = nn.Linear(self.features.shape[1], task.num_outputs)
        features, labels = self.features.numpy()[self.is_fitted], task.train.labels[self.is_fitted]
        fit_probe_head(judge, features, labels, is_regression=False)
        return judge

    @torch.no_grad()
    def _label_kept(self, features: Sequence[torch.Tensor], changed: np.ndarray) -> float:
        if self.judge is None:
            return math.nan
        before = self.judge(self.features).argmax(1)
        same = torch.stack([self.judge(found).argmax(1) == before for found in features])
        is_asked = changed & ~self.is_fitted
        return _mean(same.numpy()[is_asked].tolist())

    def _perplexity_before(self) -> float:
        augmenter = next(iter(self.varied.augmenters.values()))
        return self._perplexity(augmenter, [(int(row), 1) for row in self.rows], side=0)

    def _perplexity_after(self, method: str, changed: np.ndarray) -> float:
        versions = [(int(row), int(epoch) + 1) for epoch, row in np.argwhere(changed)]
        return self._perplexity(self.varied.augmenters[method], versions, side=1)

    def _perplexity(
        self, augmenter: Augmenter, versions: Sequence[tuple[int, int]], side: int
    ) -> float:
        """Return that of some (row, epoch), as they are (side 0) or as they become (1)."""
        if self.language_model is None or not isinstance(augmenter, TextAugmenter):
            return math.nan
        tokenizer = getattr(self.varied.backbone, "tokenizer", None)
        texts = [
            text_of(spans_of(augmenter, row, epoch, tokenizer)[side]) for row, epoch in versions
        ]
        return self.language_model.perplexity(texts, self.compute.device)

    def _cosine(self, features: Sequence[torch.Tensor], changed: np.ndarray) -> float:
        cosines = torch.stack([functional.cosine_similarity(f, self.features) for f in features])
        return _mean(cosines.numpy()[changed].tolist())

    def _pixel_distance(self, versions: Sequence[Examples], changed: np.ndarray) -> float:
        if "pixels" not in self.varied.examples.columns:
            return math.nan
        before = torch.as_tensor(self.varied.examples.columns["pixels"]).float()
        after = [torch.as_tensor(version.columns["pixels"]).float() for version in versions]
        distances = torch.stack([(pixels - before).abs().mean((1, 2, 3)) / 255 for pixels in after])
        return _mean(distances.numpy()[changed].tolist())


def _half_of(labels: np.ndarray) -> np.ndarray:
    """Return which rows are in a half that holds every class by its share `(rows,)`.

    Rows often come sorted by class, so the first half of them would hold the first class alone.
    """
    order = stratified_order(strata_of(labels), seed=0)
    return np.isin(np.arange(len(labels)), order[: len(labels) // 2])


def _bleu(version: Sequence[Hashable], others: Sequence[Sequence[Hashable]]) -> float:
    logs = []
    for length in range(1, _NGRAM + 1):
        found = Counter(_ngrams(version, length))
        most: Counter[tuple[Hashable, ...]] = Counter()
        for other in others:
            most |= Counter(_ngrams(other, length))
        hits, total = sum((found & most).values()), sum(found.values())
        smooth = 0 if length == 1 else 1
        logs.append(math.log(max(hits + smooth, 1e-9) / max(total + smooth, 1)))
    nearest = min((abs(len(other) - len(version)), len(other)) for other in others)[1]
    brevity = min(0.0, 1 - nearest / max(1, len(version)))
    return math.exp(sum(logs) / _NGRAM + brevity)


def _ngrams(row: Sequence[Hashable], length: int) -> list[tuple[Hashable, ...]]:
    return [tuple(row[at : at + length]) for at in range(len(row) - length + 1)]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
